//! Which counts of people may be disclosed: none that is small, and none from which a small one can be computed.
//!
//! The rule, for a minimum of k (docs/weekly-signups.md explains it):
//! 1. A mall with 1 to k − 1 sign-ups is withheld completely, and is not part of any total.
//! 2. Channels with fewer than k sign-ups are merged into "other". While "other" itself has fewer than k, or consists of
//!    channels that all have the same size, the next smallest channels join it, all channels of that size together.
//! 3. A mall's statuses with fewer than k members are withheld, and others with them by the same rule; if only zeros
//!    would remain, they are withheld too.
//! 4. The statuses of channels are disclosed for all groups of a mall or for none: for all if each of these counts is 0
//!    or at least k.
//!
//! Why one size is not enough: if two merged channels of different sizes swapped names, the report would be the same,
//! so that somebody who knows the rule cannot tell which is which. Two of the same size could be found by halving.

/// The number of members by status.
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

/// A channel, or the merged channels (`None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) channel: Option<String>,
    pub(super) signups: i64,
    /// Active, unconfirmed and withdrawn; `None` if withheld.
    pub(super) statuses: Option<[i64; 3]>,
}

/// What may be disclosed about a mall's week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disclosed {
    /// `None` if withheld.
    pub(super) signups: Option<i64>,
    /// Active, unconfirmed and withdrawn; `None` if withheld.
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

/// Merges small channels into an unnamed last group; the others are sorted largest first.
fn merge(mut channels: Vec<(String, Statuses)>, min_cell: i64) -> Vec<(Option<String>, Statuses)> {
    channels.sort_by(|one, other| other.1.signups().cmp(&one.1.signups()).then_with(|| one.0.cmp(&other.0)));
    channels.retain(|(_, statuses)| statuses.signups() > 0);
    let sizes: Vec<i64> = channels.iter().map(|(_, statuses)| statuses.signups()).collect();
    let is_merged = hidden(&sizes, min_cell, |place| is_personal(&channels[place].0));
    let mut other: Option<Statuses> = None;
    let mut merged = Vec::new();
    for ((name, statuses), is_merged) in channels.into_iter().zip(is_merged) {
        if is_merged {
            other.get_or_insert_default().add(&statuses);
        } else {
            merged.push((Some(name), statuses));
        }
    }
    merged.extend(other.map(|other| (None, other)));
    merged
}

/// Which of some counts must be hidden: small ones, those selected by `also`, and as many more as are needed so that
/// none of them follows from their sum. Counts of 0 are disclosed, unless nothing else is.
fn hidden(counts: &[i64], min_cell: i64, also: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut is_hidden: Vec<bool> =
        counts.iter().enumerate().map(|(place, count)| is_small(*count, min_cell) || also(place)).collect();
    if !counts.iter().any(|count| is_small(*count, min_cell)) {
        return is_hidden;
    }
    loop {
        let sizes = || counts.iter().zip(&is_hidden).filter(|(_, hidden)| **hidden).map(|(count, _)| *count);
        let is_one_size = sizes().min() == sizes().max();
        if sizes().sum::<i64>() >= min_cell && !is_one_size {
            break;
        }
        let told = counts.iter().zip(&is_hidden).filter(|(count, hidden)| !**hidden && **count > 0);
        let Some(next) = told.map(|(count, _)| *count).min() else { break };
        for (hidden, count) in is_hidden.iter_mut().zip(counts) {
            *hidden |= *count == next;
        }
    }
    // If only zeros remained visible, the hidden counts would account for the whole sum.
    if counts.iter().zip(&is_hidden).all(|(count, hidden)| *hidden || *count == 0) {
        is_hidden.fill(true);
    }
    is_hidden
}

/// Whether a channel's name may identify a person: shops put the address or number of a referrer there.
fn is_personal(name: &str) -> bool {
    const MAX_NUMBER: usize = 6;
    name.contains(['@', '＠']) || name.chars().filter(|c| c.is_numeric()).count() > MAX_NUMBER
}

/// Withholds small cells, and others with them.
fn withhold(cells: [i64; 3], min_cell: i64) -> [Option<i64>; 3] {
    let mut told = cells.map(Some);
    for (cell, hidden) in told.iter_mut().zip(hidden(&cells, min_cell, |_| false)) {
        if hidden {
            *cell = None;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn channel(name: &str, active: i64, unconfirmed: i64, withdrawn: i64) -> (String, Statuses) {
        (name.to_owned(), Statuses { active, unconfirmed, withdrawn })
    }

    fn signups(disclosed: &Disclosed) -> Vec<(&str, i64)> {
        let groups = disclosed.groups.iter();
        groups.map(|group| (group.channel.as_deref().unwrap_or("other"), group.signups)).collect()
    }

    #[test]
    fn a_small_channel_is_merged_with_the_next_smallest() {
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
    fn a_small_status_is_withheld_with_the_next_smallest() {
        assert_eq!(withhold([30, 8, 2], 5), [Some(30), None, None]);
        assert_eq!(withhold([30, 0, 2], 5), [None, None, None]);
        assert_eq!(withhold([30, 3, 2], 5), [Some(30), None, None]);
        assert_eq!(withhold([30, 8, 0], 5), [Some(30), Some(8), Some(0)]);
        assert_eq!(withhold([2, 2, 2], 5), [None, None, None]);
        assert_eq!(withhold([30, 4, 4], 5), [None, None, None], "half of eight");
        assert_eq!(
            withhold([8, 8, 2], 5),
            [None, None, None],
            "which of the two is withheld would reveal it"
        );
    }

    #[test]
    fn statuses_of_channels_are_disclosed_for_all_or_for_none() {
        let safe = disclose(vec![channel("a", 20, 6, 0), channel("b", 9, 0, 5)], 5);
        assert_eq!(
            safe.groups.iter().map(|group| group.statuses).collect::<Vec<_>>(),
            [Some([20, 6, 0]), Some([9, 0, 5])]
        );
        let unsafe_one = disclose(vec![channel("a", 20, 6, 0), channel("b", 9, 0, 1)], 5);
        assert!(unsafe_one.groups.iter().all(|group| group.statuses.is_none()));
    }

    #[test]
    fn a_channel_that_is_a_persons_address_or_number_is_never_named() {
        let channels = vec![channel("hanako@example.jp", 50, 0, 0), channel("a", 20, 0, 0)];
        assert_eq!(signups(&disclose(channels, 5)), [("a", 20), ("other", 50)]);
        let phone = vec![channel("090-1234-5678", 9, 0, 0), channel("2026-11", 20, 0, 0)];
        assert_eq!(signups(&disclose(phone, 5)), [("2026-11", 20), ("other", 9)]);
    }

    /// Every table of three channels with up to `MOST` members, by what is disclosed about it.
    fn tables_by_disclosure(min_cell: i64) -> BTreeMap<String, Vec<[i64; 9]>> {
        const MOST: i64 = 10;
        fn fill(cells: &mut Vec<i64>, left: i64, each: &mut impl FnMut([i64; 9])) {
            if let Ok(table) = <[i64; 9]>::try_from(cells.as_slice()) {
                return each(table);
            }
            for cell in 0..=left {
                cells.push(cell);
                fill(cells, left - cell, each);
                cells.pop();
            }
        }
        let mut tables: BTreeMap<String, Vec<[i64; 9]>> = BTreeMap::new();
        fill(&mut Vec::new(), MOST, &mut |table| {
            let channels = ["a", "b", "c"].iter().zip(table.chunks(3));
            let channels = channels.map(|(name, cells)| channel(name, cells[0], cells[1], cells[2]));
            let told = format!("{:?}", disclose(channels.collect(), min_cell));
            tables.entry(told).or_default().push(table);
        });
        tables
    }

    #[test]
    fn no_small_count_follows_from_what_is_disclosed() {
        let min_cell = 3;
        for (told, tables) in tables_by_disclosure(min_cell) {
            // Any cell, any channel's sign-ups, any status of the mall: known if it is the same in all tables with the
            // same disclosure. The attacker knows the rule and the channels' names.
            let sum =
                |table: &[i64; 9], places: &[usize]| places.iter().map(|place| table[*place]).sum::<i64>();
            let mut counts: Vec<Vec<usize>> = (0..9).map(|place| vec![place]).collect();
            counts.extend([vec![0, 1, 2], vec![3, 4, 5], vec![6, 7, 8]]);
            counts.extend([vec![0, 3, 6], vec![1, 4, 7], vec![2, 5, 8]]);
            counts.push((0..9).collect());
            for places in counts {
                let value = sum(&tables[0], &places);
                let is_known = tables.iter().all(|table| sum(table, &places) == value);
                assert!(!(is_known && is_small(value, min_cell)), "{places:?} is {value}: {told}");
            }
        }
    }
}
