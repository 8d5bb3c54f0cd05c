//! Runs typst on the template and the data, in a world that holds nothing else.

use std::fmt::Write;
use std::path::Path;

use anyhow::anyhow;
use chrono::{DateTime, Datelike, Timelike, Utc};
use typst::diag::{FileError, FileResult, PackageError, SourceDiagnostic};
use typst::foundations::{Bytes, Datetime, Duration, Smart};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World, WorldExt};
use typst_kit::files::{FileLoader, FileStore, FsRoot};
use typst_kit::fonts::FontStore;
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions as ExportOptions, Timestamp};
use typst_render::RenderOptions;

use super::PdfOptions;
use crate::documents::picture::Picture;
use crate::failure::Failure;

const TEMPLATE_FILE: &str = "report.typ";
const DATA_FILE: &str = "data.json";
const BUILT_IN_TEMPLATE: &str = include_str!("../../../templates/pdf/report.typ");
/// Not overridden by a user's folder: it is a part of mails, whose look is their templates'.
const PICTURE_TEMPLATE: &str = include_str!("../../../templates/pdf/picture.typ");
/// Pixels of the picture for one of a mail.
const PIXELS_PER_POINT: f64 = 2.0;

/// Sets the data in the template; `name` identifies the document among its kind.
pub(super) fn compile(
    data: &[u8],
    fonts: FontStore,
    options: &PdfOptions<'_>,
    name: &str,
) -> anyhow::Result<Vec<u8>> {
    if let Some(directory) = options.template_dir
        && !directory.join(TEMPLATE_FILE).is_file()
    {
        return Err(Failure::configuration(format!(
            "the template folder `{}` has no `{TEMPLATE_FILE}`",
            directory.display()
        ))
        .hint("correct pdf.template_dir in batchctl.toml")
        .into());
    }
    let created =
        typst_time(options.created).ok_or_else(|| anyhow!("the document's date is out of range"))?;
    let files = Files {
        template: options.template_dir.map(|path| FsRoot::new(path.to_owned())),
        built_in: BUILT_IN_TEMPLATE,
        data: Bytes::new(data.to_vec()),
    };
    let world = ReportWorld::new(files, fonts, created)?;
    let describe = |errors: &[SourceDiagnostic]| world.describe(errors, options.template_dir);
    let result = typst::compile::<PagedDocument>(&world).output.and_then(|document| {
        let export = ExportOptions {
            ident: Smart::Custom(name.to_owned()),
            creator: Smart::Custom(Some("batchctl".to_owned())),
            timestamp: Some(Timestamp::new_utc(created)),
            ..ExportOptions::default()
        };
        typst_pdf::pdf(&document, &export)
    });
    let result = result.map_err(|errors| match options.template_dir {
        Some(_) => Failure::bad_input(describe(&errors)).into(),
        // The built-in template is ours, and so is its mistake.
        None => anyhow!(describe(&errors)),
    });
    // typst keeps what it computed for a next time; ours is another document in another process.
    typst::comemo::evict(0);
    result
}

/// Draws the one page of the picture's template.
pub(super) fn draw(data: &[u8], fonts: FontStore) -> anyhow::Result<Picture> {
    let files = Files { template: None, built_in: PICTURE_TEMPLATE, data: Bytes::new(data.to_vec()) };
    // No clock: the same figures make the same picture.
    let epoch = typst_time(DateTime::UNIX_EPOCH).ok_or_else(|| anyhow!("the epoch is out of range"))?;
    let world = ReportWorld::new(files, fonts, epoch)?;
    let document = typst::compile::<PagedDocument>(&world)
        .output
        .map_err(|errors| anyhow!(world.describe(&errors, None)))?;
    typst::comemo::evict(0);
    let page = document.pages().first().ok_or_else(|| anyhow!("the picture has no page"))?;
    let options = RenderOptions { pixel_per_pt: PIXELS_PER_POINT.into(), ..RenderOptions::default() };
    let pixels = typst_render::render(page, &options);
    Ok(Picture {
        width: pixels.width() / 2,
        height: pixels.height() / 2,
        bytes: pixels.encode_png().map_err(|error| anyhow!("failed to write it as PNG: {error}"))?,
    })
}

struct ReportWorld {
    library: LazyHash<Library>,
    fonts: FontStore,
    files: FileStore<Files>,
    main: FileId,
    created: Datetime,
}

impl ReportWorld {
    fn new(files: Files, fonts: FontStore, created: Datetime) -> anyhow::Result<Self> {
        Ok(Self {
            library: LazyHash::new(Library::default()),
            fonts,
            files: FileStore::new(files),
            main: RootedPath::new(VirtualRoot::Project, VirtualPath::new(TEMPLATE_FILE)?).intern(),
            created,
        })
    }

    /// The first error on one line: where, what and what to do.
    fn describe(&self, errors: &[SourceDiagnostic], template_dir: Option<&Path>) -> String {
        let Some(error) = errors.first() else { return "typst failed without a reason".to_owned() };
        let mut message = String::new();
        if let Some(place) = self.place(error, template_dir) {
            message = format!("{place}: ");
        }
        message.push_str(&error.message.replace("\n", " "));
        for hint in &error.hints {
            let _ = write!(message, " (hint: {})", hint.v.replace("\n", " "));
        }
        message
    }

    fn place(&self, error: &SourceDiagnostic, template_dir: Option<&Path>) -> Option<String> {
        let id = error.span.id()?;
        let path = id.vpath().get_without_slash();
        let shown = match template_dir {
            Some(directory) => directory.join(path).display().to_string(),
            None => format!("built-in template {path}"),
        };
        let position = || {
            let source = self.source(id).ok()?;
            let start = self.range(error.span)?.start;
            let (line, column) = source.lines().byte_to_line_column(start)?;
            Some(format!(":{}:{}", line + 1, column + 1))
        };
        Some(format!("{shown}{}", position().unwrap_or_default()))
    }
}

impl World for ReportWorld {
    fn library(&self) -> &LazyHash<Library> {
        &self.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        self.fonts.book()
    }

    fn main(&self) -> FileId {
        self.main
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        self.files.source(id)
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        self.files.file(id)
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.fonts.font(index)
    }

    fn today(&self, _offset: Option<Duration>) -> Option<Datetime> {
        Some(self.created)
    }
}

/// The files a template can see: the data and those beside it.
struct Files {
    template: Option<FsRoot>,
    built_in: &'static str,
    data: Bytes,
}

impl FileLoader for Files {
    fn load(&self, id: FileId) -> FileResult<Bytes> {
        if let VirtualRoot::Package(_) = id.root() {
            let reason = "packages are not downloaded, copy its files into the template's folder";
            return Err(FileError::Package(PackageError::Other(Some(reason.into()))));
        }
        let path = id.vpath();
        match (&self.template, path.get_without_slash()) {
            (_, DATA_FILE) => Ok(self.data.clone()),
            (Some(root), _) => root.load(path),
            (None, TEMPLATE_FILE) => Ok(Bytes::from_string(self.built_in)),
            (None, other) => Err(FileError::NotFound(other.into())),
        }
    }
}

fn typst_time(time: DateTime<Utc>) -> Option<Datetime> {
    let part = |number: u32| u8::try_from(number).ok();
    Datetime::from_ymd_hms(
        time.year(),
        part(time.month())?,
        part(time.day())?,
        part(time.hour())?,
        part(time.minute())?,
        part(time.second())?,
    )
}
