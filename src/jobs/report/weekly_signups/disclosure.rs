//! Which counts of people may leave: none that is small, and none from which a small one can be computed.
//!
//! The rule, for a minimum of k (docs/weekly-signups.md explains it):
//! 1. A mall with 1 to k − 1 sign-ups is withheld whole, and is in no total.
//! 2. Channels with fewer than k sign-ups are merged into "other"; while "other" has fewer than k itself, the next
//!    smallest channel joins it. So it is always two channels or more, or all of them, and no subtraction from the
//!    mall's sign-ups gives one of them.
//! 3. A mall's statuses with 1 to k − 1 members are withheld; while those withheld have fewer than k together, the next
//!    smallest joins them. So at least two are withheld, and no subtraction gives one of them.
//! 4. The statuses of channels are told for all groups of a mall or for none: for all if every one of these counts is
//!    0 or at least k. What is left otherwise, sums of rows and of columns, determines no count from 1 to k − 1.

/// How many members have which status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Statuses {
    pub(super) active: i64,
    pub(super) unconfirmed: i64,
    pub(super) withdrawn: i64,
}

impl Statuses {
    pub(super) fn signups(&self) -> i64 {
        self.active + self.unconfirmed + self.withdrawn
    }

    fn add(&mut self, other: &Self) {
        self.active += other.active;
        self.unconfirmed += other.unconfirmed;
        self.withdrawn += other.withdrawn;
    }

    fn cells(&self) -> [i64; 3] {
        [self.active, self.unconfirmed, self.withdrawn]
    }
}

/// A channel, or those that were merged (`None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) channel: Option<String>,
    pub(super) signups: i64,
    /// Active, unconfirmed and withdrawn; `None` if withheld.
    pub(super) statuses: Option<[i64; 3]>,
}

/// What may be told of a mall's week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disclosed {
    /// `None` if withheld.
    pub(super) signups: Option<i64>,
    /// Active, unconfirmed and withdrawn; `None` where withheld.
    pub(super) statuses: [Option<i64>; 3],
    pub(super) groups: Vec<Group>,
}

/// Applies the rule to a mall's counts by channel.
pub(super) fn disclose(channels: Vec<(String, Statuses)>, min_cell: i64) -> Disclosed {
    let mut whole = Statuses::default();
    for (_, statuses) in &channels {
        whole.add(statuses);
    }
    let signups = whole.signups();
    if is_small(signups, min_cell) {
        return Disclosed { signups: None, statuses: [None; 3], groups: Vec::new() };
    }
    let merged = merge(channels, min_cell);
    let is_safe =
        merged.iter().all(|(_, group)| group.cells().into_iter().all(|cell| !is_small(cell, min_cell)));
    let groups = merged
        .into_iter()
        .map(|(channel, group)| Group {
            channel,
            signups: group.signups(),
            statuses: is_safe.then(|| group.cells()),
        })
        .collect();
    Disclosed { signups: Some(signups), statuses: withhold(whole.cells(), min_cell), groups }
}

fn is_small(count: i64, min_cell: i64) -> bool {
    (1..min_cell).contains(&count)
}

/// Merges small channels into one without a name, the last; the others the largest first.
fn merge(mut channels: Vec<(String, Statuses)>, min_cell: i64) -> Vec<(Option<String>, Statuses)> {
    channels.retain(|(_, statuses)| statuses.signups() > 0);
    channels.sort_by(|one, other| other.1.signups().cmp(&one.1.signups()).then_with(|| one.0.cmp(&other.0)));
    let mut other: Option<Statuses> = None;
    while let Some((_, smallest)) = channels.last() {
        let is_other_small = other.is_some_and(|other| other.signups() < min_cell);
        let has_to_join =
            is_small(smallest.signups(), min_cell) || looks_personal(&channels) || is_other_small;
        if !has_to_join {
            break;
        }
        // One whose very name may be personal goes first; it is in no order of size.
        let place = channels.iter().position(|(name, _)| is_personal(name)).unwrap_or(channels.len() - 1);
        let (_, joining) = channels.remove(place);
        other.get_or_insert_default().add(&joining);
    }
    let named = channels.into_iter().map(|(name, statuses)| (Some(name), statuses));
    named.chain(other.map(|other| (None, other))).collect()
}

fn looks_personal(channels: &[(String, Statuses)]) -> bool {
    channels.iter().any(|(name, _)| is_personal(name))
}

/// Whether a channel's name may be a person's: shops put the address or number of whoever recommended them there.
fn is_personal(name: &str) -> bool {
    const LONGEST_NUMBER: usize = 6;
    name.contains(['@', '＠']) || name.chars().filter(|c| c.is_numeric()).count() > LONGEST_NUMBER
}

/// Withholds small cells, and as many more as it takes that their sum is not small.
fn withhold(cells: [i64; 3], min_cell: i64) -> [Option<i64>; 3] {
    let mut is_withheld = cells.map(|cell| is_small(cell, min_cell));
    loop {
        let hidden: i64 =
            cells.iter().zip(is_withheld).filter(|(_, hidden)| *hidden).map(|(cell, _)| cell).sum();
        if !is_small(hidden, min_cell) {
            break;
        }
        let next = (0..cells.len())
            .filter(|&place| !is_withheld[place] && cells[place] > 0)
            .min_by_key(|&place| cells[place]);
        let Some(next) = next else { break };
        is_withheld[next] = true;
    }
    let mut told = cells.map(Some);
    for (cell, hidden) in told.iter_mut().zip(is_withheld) {
        if hidden {
            *cell = None;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str, active: i64, unconfirmed: i64, withdrawn: i64) -> (String, Statuses) {
        (name.to_owned(), Statuses { active, unconfirmed, withdrawn })
    }

    fn signups(disclosed: &Disclosed) -> Vec<(&str, i64)> {
        let groups = disclosed.groups.iter();
        groups.map(|group| (group.channel.as_deref().unwrap_or("other"), group.signups)).collect()
    }

    #[test]
    fn a_small_channel_takes_the_next_smallest_with_it() {
        let channels = vec![channel("a", 20, 0, 0), channel("b", 7, 0, 0), channel("c", 3, 0, 0)];
        assert_eq!(signups(&disclose(channels, 5)), [("a", 20), ("other", 10)]);
        let enough = vec![channel("a", 20, 0, 0), channel("b", 4, 0, 0), channel("c", 3, 0, 0)];
        assert_eq!(signups(&disclose(enough, 5)), [("a", 20), ("other", 7)]);
        let only_two = vec![channel("a", 20, 0, 0), channel("b", 1, 0, 0)];
        assert_eq!(signups(&disclose(only_two, 5)), [("other", 21)]);
    }

    #[test]
    fn a_small_mall_is_withheld_and_an_empty_one_is_not() {
        let small = disclose(vec![channel("a", 2, 1, 1)], 5);
        assert_eq!(small, Disclosed { signups: None, statuses: [None; 3], groups: vec![] });
        let empty = disclose(vec![], 5);
        assert_eq!((empty.signups, empty.statuses), (Some(0), [Some(0); 3]));
    }

    #[test]
    fn a_small_status_takes_the_next_smallest_with_it() {
        assert_eq!(withhold([30, 8, 2], 5), [Some(30), None, None]);
        assert_eq!(withhold([30, 0, 2], 5), [None, Some(0), None]);
        assert_eq!(withhold([30, 3, 2], 5), [Some(30), None, None]);
        assert_eq!(withhold([30, 8, 0], 5), [Some(30), Some(8), Some(0)]);
        assert_eq!(withhold([2, 2, 2], 5), [None, None, None]);
    }

    #[test]
    fn statuses_of_channels_are_told_for_all_or_for_none() {
        let safe = disclose(vec![channel("a", 20, 6, 0), channel("b", 9, 0, 5)], 5);
        assert_eq!(
            safe.groups.iter().map(|group| group.statuses).collect::<Vec<_>>(),
            [Some([20, 6, 0]), Some([9, 0, 5])]
        );
        let unsafe_one = disclose(vec![channel("a", 20, 6, 0), channel("b", 9, 0, 1)], 5);
        assert!(unsafe_one.groups.iter().all(|group| group.statuses.is_none()));
    }

    #[test]
    fn a_channel_that_is_somebodys_address_or_number_is_never_named() {
        let channels = vec![channel("hanako@example.jp", 50, 0, 0), channel("a", 20, 0, 0)];
        assert_eq!(signups(&disclose(channels, 5)), [("a", 20), ("other", 50)]);
        let phone = vec![channel("090-1234-5678", 9, 0, 0), channel("2026-11", 20, 0, 0)];
        assert_eq!(signups(&disclose(phone, 5)), [("2026-11", 20), ("other", 9)]);
    }

    /// Every way to fill a small table that gives the same published numbers: a small count is safe if some other
    /// filling has another value in its place.
    #[test]
    fn no_small_count_follows_from_what_is_told() {
        let min_cell = 3;
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let channels: Vec<(String, Statuses)> = (0..rng.i64(1..5))
                .map(|number| channel(&number.to_string(), rng.i64(0..9), rng.i64(0..4), rng.i64(0..4)))
                .collect();
            let told = disclose(channels, min_cell);
            let Some(signups) = told.signups else { continue };
            let sizes: Vec<i64> = told.groups.iter().map(|group| group.signups).collect();
            assert!(sizes.iter().all(|size| *size >= min_cell), "{told:?}");
            assert_eq!(sizes.iter().sum::<i64>(), signups, "{told:?}");
            let cells = told.statuses.iter().flatten();
            assert!(cells.clone().all(|cell| !is_small(*cell, min_cell)), "{told:?}");
            let hidden = told.statuses.iter().filter(|cell| cell.is_none()).count();
            let rest = signups - cells.sum::<i64>();
            assert!(hidden == 0 && rest == 0 || hidden >= 2 && rest >= min_cell, "{told:?}");
            let told_of_groups = told.groups.iter().filter_map(|group| group.statuses);
            assert!(told_of_groups.flatten().all(|cell| !is_small(cell, min_cell)), "{told:?}");
            let open = told.groups.iter().filter(|group| group.statuses.is_none()).count();
            assert!(open == 0 || open == told.groups.len(), "{told:?}");
        }
    }
}
