//! Finds duplicate records in a file, with memory that does not grow with the file.
//!
//! The second of two records with the same key would silently replace the first; an order whose lines are in two
//! places would end up with half of its lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

/// Keys held in memory: 16 bytes each, 8 MiB. The rest goes to a temporary file.
const HELD_KEYS: usize = 512 * 1024;
/// More duplicates than this do not mean a mistake but a file of another kind.
const MAX_DUPLICATES: usize = 10_000;

/// The keys seen so far, by their 64-bit hash: with ten million keys, two different keys collide in one of 370,000
/// files.
pub(super) struct Duplicates {
    most_held: usize,
    held: Vec<(u64, u64)>,
    spilled: Option<BufWriter<File>>,
    count: usize,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self::holding(HELD_KEYS)
    }
}

impl Duplicates {
    /// Holds this many keys in memory.
    fn holding(most_held: usize) -> Self {
        Self { most_held, held: Vec::new(), spilled: None, count: 0 }
    }

    /// Records the key of the record on a line.
    pub(super) fn note(&mut self, key: u64, line: u64) -> io::Result<()> {
        if self.held.len() == self.most_held {
            self.spill()?;
        }
        self.count += 1;
        self.held.push((key, line));
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.spilled {
            Some(file) => file,
            None => self.spilled.insert(BufWriter::new(tempfile::tempfile()?)),
        };
        for (key, line) in self.held.drain(..) {
            file.write_all(&key.to_le_bytes())?;
            file.write_all(&line.to_le_bytes())?;
        }
        Ok(())
    }

    /// The lines whose key is also on another line, with that other line, and the number of further such lines beyond
    /// the reported maximum.
    pub(super) fn found(mut self) -> io::Result<(BTreeMap<u64, u64>, usize)> {
        let mut found = Found::default();
        if self.spilled.is_none() {
            found.add(&mut self.held);
            return Ok((found.lines, found.more));
        }
        self.spill()?;
        let Some(spilled) = self.spilled else { return Ok((found.lines, found.more)) };
        let mut file = spilled.into_inner().map_err(io::IntoInnerError::into_error)?;
        // The file is read once for each range of keys that fits into memory; hashes are evenly distributed.
        let parts = (self.count / (self.most_held / 2) + 1).next_power_of_two();
        let shift = u64::BITS - parts.trailing_zeros();
        for part in 0..parts as u64 {
            file.rewind()?;
            let mut reader = BufReader::with_capacity(64 * 1024, &file);
            let mut entry = [0; 16];
            self.held.clear();
            for _ in 0..self.count {
                reader.read_exact(&mut entry)?;
                let (key, line) = entry.split_at(8);
                let key = key.try_into().map_or(0, u64::from_le_bytes);
                if key >> shift == part {
                    self.held.push((key, line.try_into().map_or(0, u64::from_le_bytes)));
                }
            }
            found.add(&mut self.held);
        }
        Ok((found.lines, found.more))
    }
}

#[derive(Default)]
struct Found {
    lines: BTreeMap<u64, u64>,
    more: usize,
}

impl Found {
    fn add(&mut self, keys: &mut [(u64, u64)]) {
        keys.sort_unstable();
        for same in keys.chunk_by(|first, second| first.0 == second.0).filter(|same| same.len() > 1) {
            for (place, (_, line)) in same.iter().enumerate() {
                if self.lines.len() < MAX_DUPLICATES {
                    let other = same[usize::from(place == 0)].1;
                    self.lines.insert(*line, other);
                } else {
                    self.more += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_lines_names_another() {
        let mut duplicates = Duplicates::default();
        for (key, line) in [(7, 2), (8, 3), (7, 9), (9, 10), (7, 11)] {
            duplicates.note(key, line).unwrap();
        }
        assert_eq!(duplicates.found().unwrap(), (BTreeMap::from([(2, 9), (9, 2), (11, 2)]), 0));
    }

    #[test]
    fn more_keys_than_fit_into_memory_are_compared_too() {
        let mut duplicates = Duplicates::holding(4096);
        let count: u64 = 3 * 4096;
        for line in 0..count {
            // Odd multiples of a large odd number are distinct and spread over all 64 bits.
            duplicates.note(line.wrapping_mul(0x9E37_79B9_7F4A_7C15), line).unwrap();
        }
        duplicates.note(5_u64.wrapping_mul(0x9E37_79B9_7F4A_7C15), count).unwrap();
        assert_eq!(duplicates.found().unwrap(), (BTreeMap::from([(5, count), (count, 5)]), 0));
    }
}
