//! Rendering for jobs, which have a deadline, hear signals, and have more than one mail to send.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::{RenderedMail, Templates};
use crate::config::Config;
use crate::failure::Failure;

/// How long a mail's texts may take: ten thousand times what ours take.
const LIMIT: Duration = Duration::from_secs(10);
/// After so many mails that took too long a template is not rendered any more: each leaves a thread that works until it is
/// done or the process ends. Not after one, whose values may be the reason.
const MOST_LEFT: u32 = 3;

/// The templates of a configuration, each text rendered on a thread that can be left: a loop over long texts takes hours,
/// and the engine cannot be interrupted.
#[derive(Debug)]
pub struct Renderer {
    templates: Arc<Templates>,
    limit: Duration,
    /// How many mails of a template took too long.
    left: Mutex<HashMap<String, u32>>,
}

impl Renderer {
    /// The templates of this configuration.
    pub fn new(config: &Config) -> Self {
        Self::of(Templates::new(config), LIMIT)
    }

    fn of(templates: Templates, limit: Duration) -> Self {
        Self { templates: Arc::new(templates), limit, left: Mutex::default() }
    }

    /// The templates themselves.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// Renders a mail as [`Templates::render`] does. A template that takes longer than ten seconds is an error of the mail.
    pub async fn render(&self, name: &str, language: &str, data: Value) -> anyhow::Result<RenderedMail> {
        if self.left().get(name).is_some_and(|left| *left >= MOST_LEFT) {
            return Err(self.took_too_long(name));
        }
        let templates = Arc::clone(&self.templates);
        let (wanted, language) = (name.to_owned(), language.to_owned());
        let thread = tokio::task::spawn_blocking(move || templates.render(&wanted, &language, &data));
        match tokio::time::timeout(self.limit, thread).await {
            Ok(Ok(rendered)) => rendered,
            Ok(Err(panicked)) => resume_unwind(panicked.into_panic()),
            Err(_) => {
                *self.left().entry(name.to_owned()).or_default() += 1;
                Err(self.took_too_long(name))
            }
        }
    }

    fn left(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn took_too_long(&self, name: &str) -> anyhow::Error {
        let seconds = self.limit.as_secs_f32();
        Failure::bad_input(format!("failed to render the mail template `{name}`: it takes longer than {seconds} seconds"))
            .hint(format!("look for loops over long texts in it: `batchctl mail templates preview {name}` shows how long it takes"))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::mail::template::tests::{folder_with, templates};

    /// Ten thousand times through a long text, in far fewer steps than a text may take.
    const SLOW: &str = "{% for pass in range(10000) %}{{ title | replace('a', 'b') | length }}{% endfor %}";

    fn renderer(folder: &Path) -> Renderer {
        Renderer::of(templates(Some(folder)), Duration::from_millis(300))
    }

    /// What is left behind runs for seconds; in a process that ends it would not.
    #[test]
    fn a_template_that_takes_too_long_is_left_but_only_three_times() {
        let folder = folder_with(SLOW, None);
        std::fs::copy(folder.path().join("own.en.txt"), folder.path().join("other.en.txt")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let renderer = renderer(folder.path());
        let long = json!({ "title": "a".repeat(1_000_000) });
        let short = json!({ "title": "a" });
        let problem = "failed to render the mail template `own`: it takes longer than 0.3 seconds";
        for _ in 0..MOST_LEFT {
            runtime.block_on(renderer.render("own", "en", short.clone())).unwrap();
            let error = runtime.block_on(renderer.render("own", "en", long.clone())).unwrap_err();
            assert_eq!(error.to_string(), problem);
        }
        // Now not even a short one is begun, and another template is.
        runtime.block_on(renderer.render("own", "en", short.clone())).unwrap_err();
        runtime.block_on(renderer.render("other", "en", short)).unwrap();
        runtime.shutdown_background();
    }
}
