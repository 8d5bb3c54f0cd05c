//! Every setting of a run: variables, `.env` files and `batchctl.toml`, checked once at the start.
//!
//! The only place that reads the environment. Nothing here opens a connection, and nothing here knows a job: what only
//! a job can check, such as the names of reports, it reports through [`Config::unknown_key`] and [`Config::unknown_value`].
//!
//! Each section is one file in this folder: its keys, defaults, checks, variables, accessors and tests. To add one,
//! write the file, declare its module and add its line to the list below.

mod alerts;
mod cafe24;
mod cart_remind;
mod channel;
mod database;
mod digest;
mod document;
mod effective;
mod environment;
mod error;
mod events;
mod freshness;
mod import;
mod jobs;
mod kafka;
mod lease;
mod mail;
mod order_expire;
mod ownership;
mod pdf;
mod place;
mod redis;
mod report;
mod section;
mod signing;
mod stock;
mod urls;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub use channel::{
    AlertChannel, ChannelKind, ChannelTarget, ChatworkTarget, LineWorksReader, LineWorksTarget,
};
pub use effective::Setting;
pub use environment::Source;
pub use error::ConfigError;
pub use kafka::{
    EventFormat, KAFKA_BROKERS, KafkaCompression, KafkaConfig, SCHEMA_REGISTRY_URL, SaslMechanism,
    SubjectNames, TOPIC_PLACEHOLDERS, is_topic,
};
pub(crate) use urls::{is_confidential, secrets_of_webhook};

use crate::mask::Secret;
use document::Document;
use environment::{Environment, PRODUCTION};
use section::{NamedVariable, Place, sections};
use variables::{KnownVariable, Shown, Variables};

sections! {
    variables {
        database: DatabaseSettings,
        place: PlaceSettings,
        lease: LeaseSettings,
        signing: SigningSettings,
        redis: RedisSettings,
    }
    tables {
        pdf: PdfConfig,
        report: ReportConfig,
        freshness: FreshnessConfig,
        alerts: AlertsConfig,
        import: ImportConfig,
        mail: MailConfig,
        cart_remind: CartRemindConfig,
        order_expire: OrderExpireConfig,
        stock: StockConfig,
        digest: DigestConfig,
        events: EventsConfig,
        cafe24: Cafe24Config,
        jobs: JobsConfig,
    }
}

/// The default structured file.
pub const DEFAULT_FILE: &str = "batchctl.toml";

/// The variable that names another file.
const FILE_VARIABLE: &str = "BATCHCTL_CONFIG";

/// The test suite's own variable; a build without the feature does not know it.
#[cfg(feature = "failpoints")]
const FAILPOINT: &str = "BATCHCTL_FAILPOINT";

/// The input of [`Config::load`].
#[derive(Clone)]
pub struct LoadOptions {
    /// The flag `--env`.
    pub env_flag: Option<String>,
    /// Where `.env` files, `batchctl.toml` and relative paths are.
    pub working_dir: PathBuf,
    /// The variables of the process; passed in, so that a test needs no real ones.
    pub process_env: BTreeMap<String, String>,
    /// Whether messages name files by their full paths: without a terminal they are read in another folder.
    pub full_paths: bool,
}

impl LoadOptions {
    /// The options of this process: its variables and its working directory.
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
    pub fn from_process(env_flag: Option<String>, full_paths: bool) -> Result<Self, ConfigError> {
        let working_dir = std::env::current_dir()
            .map_err(|source| ConfigError::Unreadable { path: PathBuf::from("."), source })?;
        // A value that is not UTF-8 becomes one that fails its check, instead of counting as not set.
        let process_env = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Ok(Self { env_flag, working_dir, process_env, full_paths })
    }
}

/// Every effective setting of a run.
#[derive(Debug, Clone)]
pub struct Config {
    environment: Environment,
    folder: Folder,
    /// The variables of the interface, in the order in which they were read.
    known: Vec<KnownVariable>,
    /// `batchctl.toml`, if there is one.
    file: Option<File>,
    sections: Sections,
}

/// Where the files of the settings are, and how messages name them.
#[derive(Debug, Clone)]
struct Folder {
    path: PathBuf,
    full_paths: bool,
}

impl Folder {
    /// A file's name in messages.
    fn shown(&self, file: &str) -> String {
        if self.full_paths { self.path.join(file).display().to_string() } else { file.to_owned() }
    }
}

/// The text of `batchctl.toml`, with the name under which it was found.
#[derive(Clone)]
struct File {
    name: String,
    /// Its name in messages.
    shown: String,
    text: String,
}

impl std::fmt::Debug for File {
    /// The name only: somebody may have written a secret into it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "File({})", self.name)
    }
}

impl Sections {
    /// Reads the tables from the text of a file and checks them; `file` is its name in errors.
    fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(file, text)?;
        let mut sections: Self = toml::from_str(text).map_err(|error| document.explain(&error))?;
        sections.freshness.announce(&sections.import);
        for (name, section) in sections.all() {
            let place = Place::new(&document, name);
            section.check(&place)?;
            place.check_names(&section.named_variables())?;
        }
        Ok(sections)
    }

    /// Each variable named in the file.
    fn named_variables(&self) -> impl Iterator<Item = NamedVariable<'_>> {
        self.all().into_iter().flat_map(|(_, section)| section.named_variables())
    }
}

impl Config {
    /// Reads and checks every setting: the flag `--env` or `BATCHCTL_ENV` chooses the environment; then the
    /// process, `.env.NAME` and `.env`, in this order; then `batchctl.toml`.
    pub fn load(options: LoadOptions) -> Result<Self, ConfigError> {
        let LoadOptions { env_flag, working_dir, process_env, full_paths } = options;
        let folder = Folder { path: working_dir, full_paths };
        let mut environment = Environment::load(env_flag.as_deref(), &folder, process_env)?;
        let mut variables = Variables::of(&environment);
        let (file, warning) = File::read(&mut variables, &folder)?.unzip();
        let mut sections = match &file {
            Some(file) => Sections::parse(&file.shown, &file.text)?,
            None => Sections::default(),
        };
        for section in sections.all_mut() {
            section.read(&mut variables)?;
        }
        #[cfg(feature = "failpoints")]
        variables.text(FAILPOINT, Shown::Plain, "");
        let known = variables.into_known();
        environment.warnings.extend(warning.flatten());
        Ok(Self { environment, folder, known, file, sections })
    }

    /// What can be known although the settings are wrong: the environment, or the one whose name was meant, and every
    /// setting that can be read. Nothing may run with it; `None` if not even that is known.
    pub fn in_spite_of_errors(options: LoadOptions) -> Option<Self> {
        let LoadOptions { env_flag, working_dir, mut process_env, full_paths } = options;
        let folder = Folder { path: working_dir, full_paths };
        let name =
            env_flag.or_else(|| process_env.remove("BATCHCTL_ENV").filter(|name| !name.trim().is_empty()));
        let meant = name.map(|name| Environment::meant(&name));
        let meant = match meant {
            Some(None) => return None,
            Some(meant) => meant,
            None => None,
        };
        let environment = Environment::load(meant.as_deref(), &folder, process_env).ok()?;
        let mut variables = Variables::of(&environment);
        let mut sections = Sections::default();
        for section in sections.all_mut() {
            // What is wrong keeps its default.
            drop(section.read(&mut variables));
        }
        let known = variables.into_known();
        Some(Self { environment, folder, known, file: None, sections })
    }

    /// The settings of a process of the same environment and variables that starts in another folder; `more` are
    /// additional variables, used only where they are not set already.
    pub fn in_folder(&self, folder: &Path, more: &[(&str, String)]) -> Result<Self, ConfigError> {
        let variables = self.environment.variables.iter();
        let mut process_env: BTreeMap<String, String> = variables
            // An empty value counts as not set.
            .filter(|(_, variable)| variable.source == Source::Process && !variable.value.is_empty())
            .map(|(name, variable)| (name.clone(), variable.value.clone()))
            .collect();
        for (name, value) in more {
            process_env.entry((*name).to_owned()).or_insert_with(|| value.clone());
        }
        let env_flag = Some(self.environment.name.clone());
        let full_paths = self.folder.full_paths;
        Self::load(LoadOptions { env_flag, working_dir: folder.to_owned(), process_env, full_paths })
    }

    /// The settings of a process of the same environment that starts here too, with these variables instead of its own. An
    /// empty value counts as not set, whatever the files say.
    pub fn with_variables(&self, changed: &[(&str, String)]) -> Result<Self, ConfigError> {
        let variables = self.environment.variables.iter();
        let own = variables.filter(|(_, variable)| variable.source == Source::Process);
        let own = own.map(|(name, variable)| (name.clone(), variable.value.clone()));
        let changed = changed.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self::load(LoadOptions {
            env_flag: Some(self.environment.name.clone()),
            working_dir: self.folder.path.clone(),
            process_env: own.chain(changed).collect(),
            full_paths: self.folder.full_paths,
        })
    }

    /// The environment's name: `dev`, `prod`, …
    pub fn environment(&self) -> &str {
        &self.environment.name
    }

    /// Whether real people are reached.
    pub fn is_prod(&self) -> bool {
        self.environment.name == PRODUCTION
    }

    /// Whether the environment is the one that a command has without `--env`.
    pub fn is_default_environment(&self) -> bool {
        self.environment.is_default()
    }

    /// The other environments that have a file here, `.env.NAME`, if nothing says that this one is meant: no `--env`, no
    /// `BATCHCTL_ENV`, no file of its own and no `.env`.
    pub fn environments_forgotten(&self) -> BTreeSet<String> {
        let is_said = self.environment.name_source != Source::Default
            || self.has_environment_file()
            || self.working_dir().join(".env").exists();
        if is_said { BTreeSet::new() } else { self.environment.others_with_files(self.working_dir()) }
    }

    /// Whether the environment has a file of its own, `.env.NAME`.
    pub fn has_environment_file(&self) -> bool {
        self.working_dir().join(self.variables_file()).exists()
    }

    /// The file of this environment's variables: `.env.prod`.
    pub fn variables_file(&self) -> String {
        format!(".env.{}", self.environment())
    }

    /// The other environment that was probably meant; `stamped` is that of the folder's SQLite file.
    pub fn environment_meant_instead(&self, stamped: Option<&str>) -> Option<String> {
        self.environment.meant_instead(self.working_dir(), stamped)
    }

    /// The name of the structured file as it was given: `batchctl.toml`, unless another one is named.
    pub fn file_name(&self) -> &str {
        self.variable(FILE_VARIABLE).unwrap_or(DEFAULT_FILE)
    }

    /// The folder of `batchctl.toml`, or where it would be.
    pub fn folder(&self) -> PathBuf {
        let path = self.working_dir().join(self.file_name());
        path.parent().unwrap_or(self.working_dir()).to_owned()
    }

    /// Where relative paths start.
    pub fn working_dir(&self) -> &Path {
        &self.folder.path
    }

    /// Where a test wants this process to die.
    #[cfg(feature = "failpoints")]
    pub fn failpoint(&self) -> Option<&str> {
        self.variable(FAILPOINT)
    }

    /// Any variable that is set and not empty, for what other tools define (`JOB_COMPLETION_INDEX`, `NO_COLOR`).
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|variable| variable.value.as_str())
    }

    /// Whether a variable is set in the process's environment, and not in a file.
    pub(super) fn is_from_process(&self, name: &str) -> bool {
        self.environment.get(name).is_some_and(|variable| variable.source == Source::Process)
    }

    /// A variable and where it was set, for a person who has to change it: `BATCHCTL_SMTP_URL (.env.prod line 4)`.
    pub fn set_at(&self, name: &str) -> String {
        match self.environment.origin(name) {
            Some(origin) => format!("{name} ({origin})"),
            None => format!("{name} (not set)"),
        }
    }

    /// How the environment was chosen: by `--env`, by `BATCHCTL_ENV`, or not at all.
    pub fn environment_origin(&self) -> &'static str {
        match self.environment.name_source {
            Source::Flag => "from --env",
            Source::Process => "from BATCHCTL_ENV",
            Source::Default | Source::File(_) => "the default without --env and BATCHCTL_ENV",
        }
    }

    /// The value of a variable that holds a secret, such as one that `batchctl.toml` names.
    pub fn secret(&self, name: &str) -> Result<String, ConfigError> {
        self.variable(name).map(str::to_owned).ok_or_else(|| self.unset(name))
    }

    /// A private key as PEM: the variable holds it, its line breaks possibly written as `\n`, or names its file. An
    /// error never shows the value: it is the key, or was meant to be.
    pub fn private_key(&self, name: &str) -> Result<Secret, ConfigError> {
        let value = self.secret(name)?;
        if value.contains("-----BEGIN") {
            return Ok(Secret::new(value.replace("\\n", "\n")));
        }
        let path = self.working_dir().join(&value);
        ownership::check(&path, self.environment())?;
        read_bounded(&path).map(Secret::new).map_err(|error| {
            let problem = format!("is neither a PEM nor the name of a readable file: {}", error.kind());
            ConfigError::variable(name, problem)
        })
    }

    /// What others on this machine could change of the folders that hold settings and texts. The files of the settings are
    /// checked whenever they are read.
    pub fn doubts_about_folders(&self) -> Vec<String> {
        let templates = self.mail().template_dir.as_ref().map(|folder| self.working_dir().join(folder));
        let texts = [templates, self.pdf_template_dir()].into_iter().flatten();
        ownership::doubt(&self.folder())
            .into_iter()
            .chain(texts.flat_map(|folder| ownership::doubts_about(&folder)))
            .collect()
    }

    fn unset(&self, name: &str) -> ConfigError {
        let needed_by = self.sections.named_variables().filter(|variable| variable.name == name);
        ConfigError::Unset {
            name: name.to_owned(),
            needed_by: needed_by.map(|variable| variable.needed_by).collect(),
        }
    }

    /// Whether `batchctl.toml` has a table of this name, such as `mail` or `stock.redis`.
    pub fn has_table(&self, name: &str) -> bool {
        let entries = toml::Value::Table(self.entries());
        name.split('.').try_fold(&entries, |table, key| table.get(key)).is_some()
    }

    /// The contents of `batchctl.toml`, entry by entry.
    fn entries(&self) -> toml::Table {
        // It was already parsed once; an empty table would only shorten `env show`.
        self.file.as_ref().and_then(|file| file.text.parse().ok()).unwrap_or_default()
    }

    /// The error for a key of a table whose keys are names that only its owner knows; `known` lists all of them.
    pub fn unknown_key(&self, table: &str, key: &str, known: &[&str]) -> ConfigError {
        self.error_at(&[table, key], document::unknown_key(key, table, known))
    }

    /// The error for a name that only its owner knows; `known` lists all of them. The name is not repeated: a wrong
    /// paste may be anything. Elements of arrays are numbers from 0 in the path.
    pub fn unknown_value(&self, path: &[&str], value: &str, what: &str, known: &[&str]) -> ConfigError {
        let keys: Vec<&str> = path.iter().copied().filter(|key| key.parse::<usize>().is_err()).collect();
        let advice = document::advice_or_list(value, known);
        self.error_at(path, format!("`{}` is not the name of {what}{advice}", keys.join(".")))
    }

    fn error_at(&self, path: &[&str], problem: String) -> ConfigError {
        let (name, text) =
            self.file.as_ref().map_or((DEFAULT_FILE, ""), |file| (file.shown.as_str(), file.text.as_str()));
        Document::parse(name, text).map_or_else(|error| error, |document| document.error_at(path, problem))
    }
}

/// The most bytes of a file with settings.
const MOST_BYTES: u64 = 1024 * 1024;

/// The text of a file with settings, or that they name. What is named by a slip of the pen may have no end, such as a device.
pub(crate) fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}

impl File {
    /// Reads the file that `BATCHCTL_CONFIG` names, which must exist, or the default one if it exists.
    ///
    /// With it comes a warning, if others may change it.
    fn read(
        variables: &mut Variables<'_>,
        folder: &Folder,
    ) -> Result<Option<(Self, Option<String>)>, ConfigError> {
        let is_there = folder.path.join(DEFAULT_FILE).exists();
        let named = variables.text(FILE_VARIABLE, Shown::Plain, if is_there { DEFAULT_FILE } else { "" });
        let name = named.unwrap_or(DEFAULT_FILE);
        let path = folder.path.join(name);
        let shown = folder.shown(name);
        match read_bounded(&path) {
            Ok(text) => {
                let warning = ownership::check(&path, variables.environment())?;
                Ok(Some((Self { name: name.to_owned(), shown, text }, warning)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match named {
                Some(_) => Err(variables.wrong(FILE_VARIABLE, &format!("there is no file `{shown}`"))),
                None => Ok(None),
            },
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }
}

#[cfg(test)]
mod tests;
