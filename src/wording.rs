//! Words that depend on numbers, for messages in English.

/// A count with its noun: `1 mail`, `2 mails`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
