//! What a command opens once and keeps: the HTTP client, the mail transport, the channels.
//!
//! The context names none of them. Each kind of thing is kept under its own type, and the module that creates it gives
//! the context a method for it: `impl Context { pub fn mail_transport(&self) -> … { self.once(|| …) } }`. So a new
//! client touches only its own file, and the only dependency is that of clients on the context.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One value of each type.
#[derive(Clone, Default)]
pub(super) struct Opened(Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send>>>>);

impl Opened {
    /// The value of this type, created by `open` on first use. Nothing is locked meanwhile: opening one thing may open
    /// another.
    pub(super) fn get_or_open<T: Clone + Send + 'static, E>(
        &self,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(known) = self.get() {
            return Ok(known);
        }
        let value = open()?;
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of two that were created concurrently the first one is kept.
        let kept = opened.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(value.clone()));
        Ok(kept.downcast_ref::<T>().cloned().unwrap_or(value))
    }

    fn get<T: Clone + 'static>(&self) -> Option<T> {
        let opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(&TypeId::of::<T>())?.downcast_ref::<T>().cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Clone)]
    struct Client(Arc<AtomicUsize>);
    #[derive(Clone)]
    struct Transport(Client);

    #[test]
    fn a_thing_is_opened_at_its_first_use_and_once() {
        let opened = Opened::default();
        let count = AtomicUsize::new(0);
        let client = || {
            opened.get_or_open(|| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Client(Arc::default()))
            })
        };
        // Opening one also opens the other.
        let Ok(transport) = opened.get_or_open(|| client().map(Transport));
        let Ok(same) = client();
        assert!(Arc::ptr_eq(&transport.0.0, &same.0));
        assert_eq!(count.into_inner(), 1);
    }

    #[test]
    fn what_failed_to_open_is_tried_again() {
        let opened = Opened::default();
        assert_eq!(opened.get_or_open(|| Err::<u8, _>("not yet")), Err("not yet"));
        assert_eq!(opened.get_or_open(|| Ok::<u8, &str>(7)), Ok(7));
        assert_eq!(opened.get_or_open(|| Err::<u8, _>("never asked")), Ok(7));
    }
}
