//! What chat channels are told, and how a text that is too long for one message becomes several.

/// A message of a title, a few lines, and a mention where somebody has to look now.
#[derive(Debug, Clone)]
pub struct Message {
    /// The headline; plain text.
    pub title: String,
    /// The lines below; plain text.
    pub lines: Vec<String>,
    /// Who is called, in the service's own form (`<!subteam^S123>`, a user's id); it is configuration, not data.
    pub mention: Option<String>,
}

impl Message {
    /// The title of a part: with its number where there are several.
    pub(super) fn title_of(&self, part: usize, parts: usize, most: usize) -> String {
        let title = one_line(&self.title);
        if parts == 1 {
            return shorten(&title, most);
        }
        let number = format!(" ({part}/{parts})");
        shorten(&title, most.saturating_sub(number.len())) + &number
    }
}

/// Shares lines out among as few messages as hold them, in order; `cost` is what a line takes of a message's
/// `budget`. A line that fits in no message is cut. There is always one message, if an empty one.
pub(super) fn share_out(lines: &[String], budget: usize, cost: impl Fn(&str) -> usize) -> Vec<Vec<String>> {
    let mut shares: Vec<Vec<String>> = vec![Vec::new()];
    let mut left = budget;
    for piece in
        lines.iter().flat_map(|line| line.split(['\n', '\r'])).flat_map(|line| cut(line, budget, &cost))
    {
        let takes = cost(&piece);
        if takes > left {
            shares.push(Vec::new());
            left = budget;
        }
        left = left.saturating_sub(takes);
        shares.last_mut().unwrap_or_else(|| unreachable!("there is always one")).push(piece);
    }
    shares
}

/// A line in pieces that each fit in `budget`, or are one character.
fn cut(line: &str, budget: usize, cost: &impl Fn(&str) -> usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while cost(rest) > budget {
        // Measured by halves: the cost of every beginning of a long line would add up to its square.
        let ends: Vec<usize> = rest.char_indices().map(|(start, _)| start).skip(1).collect();
        let fitting = ends.partition_point(|end| cost(&rest[..*end]) <= budget);
        let Some(end) = ends.get(fitting.saturating_sub(1)) else { break };
        pieces.push(rest[..*end].to_owned());
        rest = &rest[*end..];
    }
    pieces.push(rest.to_owned());
    pieces
}

/// The text, or its beginning with an ellipsis, in `most` characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(lines: &[&str], budget: usize) -> Vec<Vec<String>> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        share_out(&lines, budget, |line| line.chars().count() + 1)
    }

    #[test]
    fn lines_stay_whole_where_they_can_and_nothing_is_lost() {
        assert_eq!(shared(&["ab", "cd", "ef"], 6), [vec!["ab", "cd"], vec!["ef"]]);
        assert_eq!(shared(&["ab\ncd", "ef"], 3), [["ab"], ["cd"], ["ef"]]);
        assert_eq!(shared(&["長い一行です", "x"], 4), [["長い一"], ["行です"], ["x"]]);
        assert_eq!(shared(&[], 4), [Vec::<String>::new()]);
        assert_eq!(shared(&["ab", ""], 4), [["ab", ""]]);
    }

    #[test]
    fn a_title_has_its_number_only_among_several_and_stays_in_its_limit() {
        let message = Message { title: "a job\nfailed".to_owned(), lines: Vec::new(), mention: None };
        assert_eq!(message.title_of(1, 1, 80), "a job failed");
        assert_eq!(message.title_of(2, 3, 80), "a job failed (2/3)");
        assert_eq!(message.title_of(2, 3, 12), "a job… (2/3)");
    }
}
