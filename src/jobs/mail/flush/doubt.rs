//! Refusals that may not be the mails' fault: an IP on a block list, a suspended account, a proxy in front of the service.
//! They cost a mail nothing until the server has accepted another one, which shows that it meant those mails.

/// After this many in a row, going on would only hurt the sender's reputation.
const MOST: usize = 20;
/// This many at the end of a run in which others were accepted were meant too.
const FEW: usize = 3;

/// A mail that was refused, without its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) id: i64,
    /// What it was before.
    pub(super) status: &'static str,
    /// The server's reply.
    pub(super) reply: String,
}

/// The refusals since the server last accepted a mail.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    refused: Vec<Refused>,
    has_accepted: bool,
}

impl Doubt {
    pub(super) fn add(&mut self, refused: Refused) {
        self.refused.push(refused);
    }

    /// The server accepted a mail: it meant those that it refused before.
    pub(super) fn accepted(&mut self) -> Vec<Refused> {
        self.has_accepted = true;
        std::mem::take(&mut self.refused)
    }

    /// Whether there are so many that it cannot be the mails.
    pub(super) fn is_too_general(&self) -> bool {
        self.refused.len() >= MOST
    }

    /// At the end of the run: those that were meant.
    pub(super) fn meant_at_end(&mut self) -> Vec<Refused> {
        if self.has_accepted && self.refused.len() <= FEW {
            std::mem::take(&mut self.refused)
        } else {
            Vec::new()
        }
    }

    /// Those that nothing is known about.
    pub(super) fn left(&self) -> &[Refused] {
        &self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(id: i64) -> Refused {
        Refused { id, status: "QUEUED", reply: "550 5.7.1 no".to_owned() }
    }

    fn ids(refused: &[Refused]) -> Vec<i64> {
        refused.iter().map(|refused| refused.id).collect()
    }

    #[test]
    fn refusals_are_meant_once_another_mail_was_accepted() {
        let mut doubt = Doubt::default();
        for id in 1..=3 {
            doubt.add(refused(id));
        }
        assert_eq!(ids(&doubt.meant_at_end()), [0; 0], "nothing was accepted in this run");
        assert_eq!(ids(&doubt.accepted()), [1, 2, 3]);
        doubt.add(refused(4));
        assert_eq!(ids(&doubt.meant_at_end()), [4]);
        assert_eq!(doubt.left().len(), 0);
    }

    #[test]
    fn a_block_that_begins_in_the_middle_of_a_run_is_not_the_mails_fault() {
        let mut doubt = Doubt::default();
        assert_eq!(ids(&doubt.accepted()), [0; 0]);
        for id in 1..20 {
            doubt.add(refused(id));
            assert!(!doubt.is_too_general());
        }
        doubt.add(refused(20));
        assert!(doubt.is_too_general());
        assert_eq!(ids(&doubt.meant_at_end()), [0; 0]);
        assert_eq!(doubt.left().len(), 20);
    }
}
