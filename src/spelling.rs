//! Suggestions for misspelled names.

/// How alike two names must be for a "did you mean" (Jaro-Winkler, from 0 to 1).
const SIMILAR: f64 = 0.8;
/// How alike names are that differ in the order of two neighbouring letters. Jaro-Winkler does not look far enough in a
/// short name to find the letters of `day` in `dya`.
const TRANSPOSED: f64 = 0.9;

/// The known name that is most like `name`, if any is similar.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (likeness(name, known), known))
        .filter(|(likeness, _)| *likeness >= SIMILAR)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known)
}

fn likeness(name: &str, known: &str) -> f64 {
    let letters = strsim::jaro_winkler(name, known);
    // A letter that was replaced, added or lost costs one in both distances.
    let is_transposed = strsim::osa_distance(name, known) == 1 && strsim::levenshtein(name, known) == 2;
    if is_transposed { letters.max(TRANSPOSED) } else { letters }
}

/// The end of a sentence about an unknown name: `: did you mean `NAME`?`, or nothing if no known name is like it.
pub fn advice<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |known| format!(": did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_is_suggested_and_a_strange_one_gets_no_advice() {
        let known = ["orders", "order_items", "members"];
        assert_eq!(nearest("order", known), Some("orders"));
        assert_eq!(advice("membres", known), ": did you mean `members`?");
        assert_eq!(advice("zzz", known), "");
        assert_eq!(nearest("dya", ["month", "day"]), Some("day"));
        assert_eq!(nearest("dev", ["prod", "dax"]), None);
    }
}
