//! The templates that come with the program: every file of `templates/mail`.

/// Names each file once and takes it into the program.
macro_rules! files {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../templates/mail/", $file)))),*]
    };
}

/// A mail's two files in each of its three languages.
pub(super) const FILES: &[(&str, &str)] = files![
    "_footer.en.html",
    "_footer.en.txt",
    "_footer.ja.html",
    "_footer.ja.txt",
    "_footer.ko.html",
    "_footer.ko.txt",
    "cart-reminder.en.html",
    "cart-reminder.en.txt",
    "daily-sales.en.html",
    "daily-sales.en.txt",
    "digest.en.html",
    "digest.en.txt",
    "executive.en.html",
    "executive.en.txt",
    "layout.html",
    "parts.html",
    "payment-notice.en.html",
    "payment-notice.en.txt",
    "weekly-signups.en.html",
    "weekly-signups.en.txt",
];
