//! The look of a PDF: the built-in style, and what a user's `style.toml` changes in it.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::scene::Colour;
use crate::failure::Failure;
use crate::locale::Locale;

/// The file in the user's folder.
const FILE: &str = "style.toml";
const BUILT_IN: &str = include_str!("../../../templates/pdf/style.toml");
const POINTS_PER_MM: f32 = 72.0 / 25.4;
/// The placeholders allowed in texts in the margins.
const PLACEHOLDERS: [&str; 4] = ["title", "page", "pages", "created"];

/// A whole style.
#[derive(Clone, Debug)]
pub(super) struct Style {
    /// The author of the document.
    pub(super) author: String,
    pub(super) page: PageStyle,
    pub(super) fonts: FontStyle,
    pub(super) colours: Colours,
    pub(super) logo: LogoStyle,
    pub(super) header: MarginTexts,
    pub(super) footer: MarginTexts,
    /// The folder of the style and its files; none for the built-in one.
    pub(super) folder: Option<PathBuf>,
}

/// Paper and margins, in points.
#[derive(Clone, Debug)]
pub(super) struct PageStyle {
    /// The shorter side first.
    pub(super) paper: (f32, f32),
    pub(super) orientation: Orientation,
    pub(super) left: f32,
    pub(super) right: f32,
    pub(super) top: f32,
    pub(super) bottom: f32,
}

/// The orientation of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Orientation {
    Auto,
    Portrait,
    Landscape,
}

/// Families and sizes.
#[derive(Clone, Debug)]
pub(super) struct FontStyle {
    pub(super) families: Vec<String>,
    pub(super) title: f32,
    pub(super) heading: f32,
    pub(super) facts: f32,
    pub(super) table: f32,
    pub(super) smallest_table: f32,
    pub(super) chart_title: f32,
    pub(super) chart: f32,
    pub(super) notes: f32,
    pub(super) margin: f32,
}

/// What is drawn in which colour.
#[derive(Clone, Debug)]
pub(super) struct Colours {
    pub(super) text: Colour,
    pub(super) muted: Colour,
    pub(super) rule: Colour,
    pub(super) hairline: Colour,
    pub(super) stripe: Colour,
    pub(super) series: Vec<Colour>,
    pub(super) loss: Colour,
}

/// The picture beside the title.
#[derive(Clone, Debug)]
pub(super) struct LogoStyle {
    /// None if there is no logo.
    pub(super) file: Option<PathBuf>,
    /// In points.
    pub(super) height: f32,
    pub(super) is_left: bool,
}

/// The texts above or below the pages.
#[derive(Clone, Debug)]
pub(super) struct MarginTexts {
    pub(super) left: LocalText,
    pub(super) right: LocalText,
}

/// A text, the same in each language or one for each.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalText {
    en: String,
    ja: String,
    ko: String,
}

impl LocalText {
    pub(super) fn of(&self, locale: Locale) -> &str {
        locale.pick(&self.en, &self.ja, &self.ko)
    }
}

impl Style {
    /// The built-in style, changed by the user's folder if there is one.
    pub(super) fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let built_in = StyleFile::parse("templates/pdf/style.toml", BUILT_IN).map_err(anyhow::Error::msg)?;
        let Some(folder) = folder else {
            return built_in.into_style(None).ok_or_else(incomplete);
        };
        let path = folder.join(FILE);
        if !path.is_file() {
            return Err(Failure::configuration(format!(
                "the template folder `{}` has no `{FILE}`",
                folder.display()
            ))
            .hint("correct pdf.template_dir in batchctl.toml")
            .into());
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::bad_input(format!("failed to read {}: {error}", path.display())))?;
        let own = StyleFile::parse(&path.display().to_string(), &text).map_err(Failure::bad_input)?;
        own.over(built_in).into_style(Some(folder)).ok_or_else(incomplete)
    }
}

fn incomplete() -> anyhow::Error {
    anyhow::anyhow!("the built-in style lacks a key")
}

/// Defines a section of the file: its keys, each of which may be left out.
macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident { $($key:ident: $kind:ty),+ $(,)? })+) => { $(
        $(#[$doc])*
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct $name { $($key: Option<$kind>),+ }

        impl $name {
            /// Fills in what this section leaves out from another one.
            fn over(self, other: Self) -> Self {
                Self { $($key: self.$key.or(other.$key)),+ }
            }
        }
    )+ };
}

sections! {
    /// `[page]`
    PageSection {
        size: Paper,
        orientation: Orientation,
        left_mm: Margin,
        right_mm: Margin,
        top_mm: Margin,
        bottom_mm: Margin,
    }
    /// `[fonts]`
    FontSection {
        families: Vec<String>,
        title: FontSize,
        heading: FontSize,
        facts: FontSize,
        table: FontSize,
        smallest_table: FontSize,
        chart_title: FontSize,
        chart: FontSize,
        notes: FontSize,
        margin: FontSize,
    }
    /// `[colours]`
    ColourSection {
        text: Colour,
        muted: Colour,
        rule: Colour,
        hairline: Colour,
        stripe: Colour,
        series: Series,
        loss: Colour,
    }
    /// `[logo]`
    LogoSection { file: LogoFile, height_mm: Margin, side: Side }
    /// `[header]` and `[footer]`
    MarginSection { left: LocalText, right: LocalText }
}

/// The file as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StyleFile {
    author: Option<String>,
    page: PageSection,
    fonts: FontSection,
    colours: ColourSection,
    logo: LogoSection,
    header: MarginSection,
    footer: MarginSection,
}

impl StyleFile {
    /// Reads a style; `name` is the file's name in errors, which also name the line and the key.
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let (line, key) = place(text, start);
            let mut message = format!("{name} line {line}: ");
            if !error.message().starts_with("unknown field")
                && let Some(key) = key
            {
                let _ = write!(message, "`{key}`: ");
            }
            message.push_str(&error.message().replace("unknown field", "unknown key").replace('\n', ", "));
            message
        })
    }

    fn over(self, other: Self) -> Self {
        Self {
            author: self.author.or(other.author),
            page: self.page.over(other.page),
            fonts: self.fonts.over(other.fonts),
            colours: self.colours.over(other.colours),
            logo: self.logo.over(other.logo),
            header: self.header.over(other.header),
            footer: self.footer.over(other.footer),
        }
    }

    fn into_style(self, folder: Option<&Path>) -> Option<Style> {
        let file = self.logo.file?.0;
        Some(Style {
            author: self.author?,
            page: PageStyle {
                paper: self.page.size?.size(),
                orientation: self.page.orientation?,
                left: self.page.left_mm?.0,
                right: self.page.right_mm?.0,
                top: self.page.top_mm?.0,
                bottom: self.page.bottom_mm?.0,
            },
            fonts: FontStyle {
                families: self.fonts.families?,
                title: self.fonts.title?.0,
                heading: self.fonts.heading?.0,
                facts: self.fonts.facts?.0,
                table: self.fonts.table?.0,
                smallest_table: self.fonts.smallest_table?.0,
                chart_title: self.fonts.chart_title?.0,
                chart: self.fonts.chart?.0,
                notes: self.fonts.notes?.0,
                margin: self.fonts.margin?.0,
            },
            colours: Colours {
                text: self.colours.text?,
                muted: self.colours.muted?,
                rule: self.colours.rule?,
                hairline: self.colours.hairline?,
                stripe: self.colours.stripe?,
                series: self.colours.series?.0,
                loss: self.colours.loss?,
            },
            logo: LogoStyle {
                file: folder.filter(|_| !file.as_os_str().is_empty()).map(|folder| folder.join(file)),
                height: self.logo.height_mm?.0,
                is_left: self.logo.side? == Side::Left,
            },
            header: MarginTexts { left: self.header.left?, right: self.header.right? },
            footer: MarginTexts { left: self.footer.left?, right: self.footer.right? },
            folder: folder.map(Path::to_owned),
        })
    }
}

/// The line of a byte, from 1, and the key on that line, with its section.
fn place(text: &str, offset: usize) -> (usize, Option<String>) {
    let mut section = String::new();
    let mut seen = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let is_here = offset < seen + line.len() || seen + line.len() == text.len();
        if let Some(name) = line.trim().strip_prefix('[').and_then(|name| name.split(']').next()) {
            section = format!("{}.", name.trim());
        }
        if is_here {
            let key = line.split_once('=').map(|(key, _)| format!("{section}{}", key.trim()));
            return (number, key);
        }
        seen += line.len();
    }
    (1, None)
}

/// A size of paper.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Paper {
    A3,
    A4,
    A5,
    B4,
    B5,
    Letter,
    Legal,
}

impl Paper {
    /// Points, the shorter side first. B4 and B5 are those of JIS P 0138, which are used in Japan.
    fn size(self) -> (f32, f32) {
        let mm = |short: f32, long: f32| (short * POINTS_PER_MM, long * POINTS_PER_MM);
        match self {
            Self::A3 => mm(297.0, 420.0),
            Self::A4 => mm(210.0, 297.0),
            Self::A5 => mm(148.0, 210.0),
            Self::B4 => mm(257.0, 364.0),
            Self::B5 => mm(182.0, 257.0),
            Self::Letter => (612.0, 792.0),
            Self::Legal => (612.0, 1008.0),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Left,
    Right,
}

/// A margin or height: written in millimetres, kept in points.
#[derive(Clone, Copy)]
struct Margin(f32);

/// A font size, in points.
#[derive(Clone, Copy)]
struct FontSize(f32);

/// The name of a file in the style's folder; empty for none.
struct LogoFile(PathBuf);

/// The colours of a chart's lines, at least one.
struct Series(Vec<Colour>);

/// A number in a range, with or without a decimal point.
fn number_between<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: f32,
    most: f32,
) -> Result<f32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(i16),
        Broken(f32),
    }
    let number = match Number::deserialize(deserializer) {
        Ok(Number::Whole(number)) => f32::from(number),
        Ok(Number::Broken(number)) => number,
        Err(_) => f32::NAN,
    };
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(de::Error::custom(format!("write a number from {least} to {most}")))
}

impl<'de> Deserialize<'de> for LogoFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = PathBuf::deserialize(deserializer)?;
        // A style is data: it must not read files elsewhere.
        if file.components().all(|component| matches!(component, Component::Normal(_))) {
            return Ok(Self(file));
        }
        Err(de::Error::custom("write the path of a file below the folder of style.toml"))
    }
}

impl<'de> Deserialize<'de> for Margin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(number_between(deserializer, 0.0, 60.0)? * POINTS_PER_MM))
    }
}

impl<'de> Deserialize<'de> for FontSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(number_between(deserializer, 4.0, 40.0)?))
    }
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let colours = Vec::deserialize(deserializer)?;
        if colours.is_empty() {
            Err(de::Error::custom("write at least one colour"))
        } else {
            Ok(Self(colours))
        }
    }
}

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("write a colour as \"#rrggbb\", such as \"#1f2933\"");
        let text = String::deserialize(deserializer).map_err(|_| wrong())?;
        let mut parts = [0; 3];
        let digits = text.strip_prefix('#').ok_or_else(wrong)?;
        hex::decode_to_slice(digits, &mut parts).map_err(|_| wrong())?;
        let [red, green, blue] = parts;
        Ok(Self { red, green, blue })
    }
}

impl<'de> Deserialize<'de> for LocalText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[derive(Default)]
        struct Texts {
            en: String,
            ja: String,
            ko: String,
        }
        let wrong = || {
            de::Error::custom("write a text, or one for each language: { en = \"\", ja = \"\", ko = \"\" }")
        };
        let text = match toml::Value::deserialize(deserializer).map_err(|_| wrong())? {
            toml::Value::String(text) => Self { en: text.clone(), ja: text.clone(), ko: text },
            value @ toml::Value::Table(_) => {
                let texts: Texts = value.try_into().map_err(|_| wrong())?;
                Self { en: texts.en, ja: texts.ja, ko: texts.ko }
            }
            _ => return Err(wrong()),
        };
        for text in [&text.en, &text.ja, &text.ko] {
            let placeholders = text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or_default());
            for placeholder in placeholders {
                if !PLACEHOLDERS.contains(&placeholder) {
                    return Err(de::Error::custom(format!(
                        "unknown placeholder `{{{placeholder}}}`: known are {{title}}, {{page}}, {{pages}}, {{created}}"
                    )));
                }
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Style, String> {
        let built_in = StyleFile::parse("style.toml", BUILT_IN)?;
        let own = StyleFile::parse("style.toml", text)?;
        Ok(own.over(built_in).into_style(None).expect("the built-in style is whole"))
    }

    #[test]
    fn the_built_in_style_is_whole_and_a_file_changes_what_it_names() {
        let built_in = Style::load(None).unwrap();
        assert!((built_in.fonts.title - 17.0).abs() < f32::EPSILON);
        let own = parsed("[fonts]\ntitle = 20\n[footer]\nright = { ja = \"{page}頁\" }\n").unwrap();
        assert_eq!((own.fonts.title, own.fonts.heading), (20.0, built_in.fonts.heading));
        assert_eq!((own.footer.right.of(Locale::Ja), own.footer.right.of(Locale::En)), ("{page}頁", ""));
        assert_eq!(own.footer.left.of(Locale::Ko), "{title}");
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_key() {
        let cases = [
            (
                "[page]\nsize = \"a9\"",
                "line 2: `page.size`: unknown variant `a9`, expected one of `a3`, `a4`, `a5`, `b4`, `b5`, `letter`, `legal`",
            ),
            ("[page]\n\ntop_mm = 600", "line 3: `page.top_mm`: write a number from 0 to 60"),
            ("[fonts]\ntitle = \"big\"", "line 2: `fonts.title`: write a number from 4 to 40"),
            (
                "[colours]\ntext = \"red\"",
                "line 2: `colours.text`: write a colour as \"#rrggbb\", such as \"#1f2933\"",
            ),
            ("[colours]\nseries = []", "line 2: `colours.series`: write at least one colour"),
            (
                "[page]\ncolour = 1",
                "line 2: unknown key `colour`, expected one of `size`, `orientation`, `left_mm`, `right_mm`, `top_mm`, `bottom_mm`",
            ),
            (
                "[footer]\nleft = \"{name}\"",
                "line 2: `footer.left`: unknown placeholder `{name}`: known are {title}, {page}, {pages}, {created}",
            ),
            (
                "[footer]\nleft = 1",
                "line 2: `footer.left`: write a text, or one for each language: { en = \"\", ja = \"\", ko = \"\" }",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(parsed(text).unwrap_err(), format!("style.toml {message}"));
        }
    }
}
