//! Redis: scripts that run whole or not at all, many of them in one exchange.
//!
//! One server that has all keys: a cluster is refused, because a script reaches the keys of one node alone.

mod wire;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ErrorKind, FromRedisValue, RedisConnectionInfo, RedisError, RedisResult,
    ServerErrorKind, Value,
};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::wire::Allowance;
use crate::config::RedisTarget;
use crate::context::Context;
use crate::failure::Failure;
use crate::hosts::is_allowed_outside_prod;
use crate::printable::{escaped, shortened};

/// How long a connection may take, from the name of the host to the answer to the login.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an exchange may take. Redis answers in microseconds; this long only if it is stopped, or far away.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of what a server says is shown.
const SHOWN_CHARACTERS: usize = 200;
/// How much of a text in a reply is kept: our scripts return names and numbers.
const LONGEST_TEXT: usize = 4096;

/// The server of `BATCHCTL_REDIS_URL`.
#[derive(Debug, Clone)]
pub struct RedisServer {
    target: RedisTarget,
    /// The variable, and where it was set.
    origin: String,
    /// Why this environment must not reach it.
    barrier: Option<Failure>,
}

/// A connection.
pub struct Redis {
    server: RedisServer,
    connection: MultiplexedConnection,
    /// How much of its answers is still received.
    allowance: Allowance,
    /// What reads and writes on the connection.
    _driver: AbortOnDropHandle<()>,
    /// The script that the server keeps, and its name there.
    loaded: Option<(&'static str, String)>,
}

/// One run of a script.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The keys it is told.
    pub keys: Vec<String>,
    /// Its other arguments.
    pub arguments: Vec<String>,
}

/// What a script returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A whole number.
    Int(i64),
    /// A text, cut if it is long. Bytes that are not UTF-8 are replaced.
    Text(String),
    /// Several of them.
    List(Vec<Reply>),
    /// Nothing, or what no script of ours returns.
    Nothing,
}

/// Why a script has not done its work.
#[derive(Debug, Clone)]
pub enum RedisTrouble {
    /// It concerns all of them: the server, the way to it, or the login.
    Server(Failure),
    /// This run of the script alone.
    Script(String),
}

impl From<RedisTrouble> for Failure {
    fn from(trouble: RedisTrouble) -> Self {
        match trouble {
            RedisTrouble::Server(failure) => failure,
            RedisTrouble::Script(problem) => Self::failed(format!("Redis refuses a script: {problem}")),
        }
    }
}

impl Context {
    /// The server of `BATCHCTL_REDIS_URL`, if it is set. Opens no connection.
    pub fn redis(&self) -> Option<RedisServer> {
        let target = self.config.redis().target.clone()?;
        let mut server = RedisServer { target, origin: self.config.redis_origin(), barrier: None };
        let listed = &self.config.stock().redis.hosts_outside_prod;
        if !self.config.is_prod() && !is_allowed_outside_prod(&server.target.host, listed) {
            let refused = Failure::refused(format!(
                "{} is not among the hosts for the environment `{}`: what is written there may be another environment's",
                server.name(),
                self.config.environment()
            ));
            let hint =
                "if no other environment uses it, add its host to `hosts_outside_prod` of `[stock.redis]`";
            server.barrier = Some(refused.hint(hint));
        }
        Some(server)
    }
}

impl RedisServer {
    /// Refuses a server that this environment must not reach.
    pub fn check(&self) -> Result<(), Failure> {
        self.barrier.clone().map_or(Ok(()), Err)
    }

    /// Connects and logs in. Refuses a cluster, and a server that this environment must not reach.
    pub async fn connect(self) -> Result<Redis, Failure> {
        self.check()?;
        let allowance = Allowance::default();
        allowance.renew();
        let opened = match timeout(CONNECT_TIMEOUT, self.open(&allowance)).await {
            Ok(opened) => opened,
            Err(_) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time").into()),
        };
        let (connection, driver) = opened.map_err(|error| self.broken(&allowance, &error))?;
        let mut redis = Redis { server: self, connection, allowance, _driver: driver, loaded: None };
        redis.refuse_cluster().await?;
        Ok(redis)
    }

    async fn open(
        &self,
        allowance: &Allowance,
    ) -> RedisResult<(MultiplexedConnection, AbortOnDropHandle<()>)> {
        let RedisTarget { user, password, database, .. } = &self.target;
        let mut login = RedisConnectionInfo::default().set_db(i64::from(*database)).set_skip_set_lib_name();
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose());
        }
        let timeouts = AsyncConnectionConfig::new().set_response_timeout(Some(EXCHANGE_TIMEOUT));
        let stream = wire::connect(&self.target, allowance).await?;
        let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, timeouts).await?;
        Ok((connection, AbortOnDropHandle::new(tokio::spawn(driver))))
    }

    /// What it means that a connection could not be made, or that an exchange has broken.
    fn broken(&self, allowance: &Allowance, error: &RedisError) -> Failure {
        if allowance.is_used_up() {
            return self.strange("sends more than it was asked for");
        }
        self.failure(error)
    }

    /// What it means that its answers are none of Redis's: it is something else, or broken.
    fn strange(&self, what_it_does: &str) -> Failure {
        Failure::try_later(format!("{} {what_it_does}", self.name()))
            .symptom("Redis cannot be used")
            .hint(format!("is it a Redis? Otherwise correct {}", self.origin))
            .retry_once("once Redis answers again")
    }

    /// What it is called in messages: `host:port/database`, without user and password.
    fn name(&self) -> String {
        let RedisTarget { host, port, database, .. } = &self.target;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("Redis at `{host}:{port}/{database}`")
    }

    /// What an error that concerns all scripts means to the caller.
    fn failure(&self, error: &RedisError) -> Failure {
        let (name, said, origin) = (self.name(), said(error), &self.origin);
        let later = |problem: &str| {
            Failure::try_later(format!("{name} {problem}: {said}"))
                .symptom("Redis cannot be used")
                .retry_once("once Redis answers again")
        };
        let wrong = |problem: &str| Failure::configuration(format!("{name} {problem}: {said}"));
        match Fault::of(error) {
            Fault::Unreachable => later("does not answer")
                .hint(format!("wait until it is back or start it; if its address is wrong, correct {origin}")),
            Fault::Busy => later("is not accepting commands").hint("wait until it does"),
            Fault::ReadOnly => later("is a read-only replica").hint(format!(
                "after a failover, wait until it is the primary again; otherwise name the primary in {origin}"
            )),
            Fault::Certificate => wrong("has a certificate that cannot be verified").hint(format!(
                "correct {origin}, or let the system trust the authority that issued it (SSL_CERT_FILE names a file)"
            )),
            Fault::Login => wrong("refuses the login").hint(format!("correct user and password in {origin}")),
            Fault::Permission => wrong("does not permit what this needs").hint(format!(
                "allow the user of {origin} the commands EVALSHA, SCRIPT LOAD and those of the keys of stock and reservations"
            )),
            Fault::Cluster => Failure::configuration(format!("{name} is a cluster, which is not supported"))
                .hint(format!("name one server that has all keys in {origin}")),
            Fault::Other => wrong("refuses the connection").hint(format!("correct {origin}")),
        }
    }
}

impl Redis {
    /// What it is called in messages: `Redis at host:port/database`, without user and password.
    pub fn name(&self) -> String {
        self.server.name()
    }

    /// What it means that a script returns what it never does.
    pub fn strange(&self) -> Failure {
        self.server.strange("gave an answer that its script does not return")
    }

    /// The variable that names it, and where it was set.
    pub fn origin(&self) -> &str {
        &self.server.origin
    }

    /// A server that is a node of a cluster says so, unless the user may not ask.
    async fn refuse_cluster(&mut self) -> Result<(), Failure> {
        let asked: RedisResult<String> = self.ask(redis::cmd("INFO").arg("cluster")).await;
        match asked {
            Ok(info) if info.contains("cluster_enabled:1") => {
                let server = &self.server;
                Err(Failure::configuration(format!("{} is a cluster, which is not supported", server.name()))
                    .hint(format!("name one server that has all keys in {}", server.origin)))
            }
            Err(error) if Fault::of(&error) != Fault::Permission => Err(self.broken(&error)),
            _ => Ok(()),
        }
    }

    /// Runs a script many times in one exchange, each run whole or not at all, and returns what each of them returned, in
    /// their order. Fails if it is not known whether any of them ran.
    pub async fn run_each(
        &mut self,
        script: &'static str,
        invocations: &[Invocation],
    ) -> Result<Vec<Result<Reply, RedisTrouble>>, Failure> {
        if invocations.is_empty() {
            return Ok(Vec::new());
        }
        let name = self.load(script).await.map_err(|error| self.broken(&error))?;
        let mut pipeline = redis::Pipeline::with_capacity(invocations.len());
        pipeline.ignore_errors();
        for Invocation { keys, arguments } in invocations {
            pipeline.cmd("EVALSHA").arg(&name).arg(keys.len()).arg(keys).arg(arguments);
        }
        self.allowance.renew();
        let replies: Vec<RedisResult<Value>> =
            pipeline.query_async(&mut self.connection).await.map_err(|error| self.broken(&error))?;
        if replies.len() != invocations.len() {
            let name = self.server.name();
            return Err(Failure::try_later(format!(
                "{name} has answered {} of {} commands",
                replies.len(),
                invocations.len()
            )));
        }
        Ok(replies
            .into_iter()
            .map(|reply| reply.map(Reply::of).map_err(|error| self.trouble(&error)))
            .collect())
    }

    async fn load(&mut self, script: &'static str) -> RedisResult<String> {
        if let Some((loaded, name)) = &self.loaded
            && *loaded == script
        {
            return Ok(name.clone());
        }
        let name: String = self.ask(redis::cmd("SCRIPT").arg("LOAD").arg(script)).await?;
        self.loaded = Some((script, name.clone()));
        Ok(name)
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> RedisResult<T> {
        self.allowance.renew();
        command.query_async(&mut self.connection).await
    }

    fn broken(&self, error: &RedisError) -> Failure {
        self.server.broken(&self.allowance, error)
    }

    fn trouble(&self, error: &RedisError) -> RedisTrouble {
        match Fault::of(error) {
            Fault::Other => RedisTrouble::Script(said(error)),
            _ => RedisTrouble::Server(self.server.failure(error)),
        }
    }
}

impl Reply {
    fn of(value: Value) -> Self {
        match value {
            Value::Int(number) => Self::Int(number),
            Value::BulkString(bytes) => {
                let kept = &bytes[..bytes.len().min(LONGEST_TEXT)];
                Self::Text(String::from_utf8_lossy(kept).into_owned())
            }
            Value::SimpleString(text) => Self::Text(shortened(&text, LONGEST_TEXT).into_owned()),
            Value::Okay => Self::Text("OK".to_owned()),
            Value::Array(values) => Self::List(values.into_iter().map(Self::of).collect()),
            _ => Self::Nothing,
        }
    }
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unreachable,
    Busy,
    ReadOnly,
    Certificate,
    Login,
    Permission,
    Cluster,
    /// That of a command, or of what is not an address.
    Other,
}

impl Fault {
    fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Parse if error.to_string().contains("certificate") => {
                Self::Certificate
            }
            // What is no answer of Redis comes from something else that listens there, or from a connection that broke.
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Unreachable,
            ErrorKind::AuthenticationFailed => Self::Login,
            ErrorKind::Server(kind) => Self::of_server(kind, error),
            _ => Self::of_code(error),
        }
    }

    fn of_server(kind: ServerErrorKind, error: &RedisError) -> Self {
        match kind {
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::MasterDown
            // The server has just been restarted, or emptied by hand.
            | ServerErrorKind::NoScript => Self::Busy,
            ServerErrorKind::ReadOnly => Self::ReadOnly,
            ServerErrorKind::NoPerm => Self::Permission,
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::CrossSlot
            | ServerErrorKind::ClusterDown => Self::Cluster,
            _ => Self::of_code(error),
        }
    }

    /// By the first word of the error. Before Redis 7 that of an error inside a script is `ERR`, and the word follows.
    fn of_code(error: &RedisError) -> Self {
        let text = said(error);
        let has = |word: &str| {
            error.code() == Some(word)
                || text.split(|c: char| !c.is_ascii_alphanumeric()).any(|other| other == word)
        };
        if ["WRONGPASS", "NOAUTH"].into_iter().any(has) {
            Self::Login
        } else if has("READONLY") {
            Self::ReadOnly
        } else if has("NOPERM") {
            Self::Permission
        } else if ["OOM", "MISCONF", "BUSY", "NOREPLICAS", "LOADING"].into_iter().any(has) {
            Self::Busy
        } else if text.contains("non local key") {
            Self::Cluster
        } else {
            Self::Other
        }
    }
}

/// What an error says, in one line that harms no terminal.
fn said(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    };
    shortened(&escaped(text.trim()), SHOWN_CHARACTERS).into_owned()
}
