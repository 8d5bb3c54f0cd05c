//! The month of a new user: what goes wrong in the nights of a shop that exports its orders to files.
//!
//! The story keeps its own books: what the shop sold, and what of it has arrived in batchctl. Every mail is read in the night
//! in which it was written, and held against both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{daily_sales, export, night};
use crate::support::{Batchctl, Shop, on_both_databases};

on_both_databases![at_the_end_of_the_month_every_figure_is_true_and_no_mail_has_claimed_a_wrong_one];

/// The crontab's main configuration.
const CONFIG: &str = "
[import.orders.tokyo]
inbox_pattern = \"tokyo-*.csv\"
mall = \"tokyo\"
[import.orders.seoul]
inbox_pattern = \"seoul-*.csv\"
mall = \"seoul\"

[[report.delivery]]
report = \"daily-sales\"
to = [\"boss@example.jp\"]
format = [\"csv\"]
locale = \"en\"

[[report.delivery]]
report = \"executive\"
to = [\"boss@example.jp\"]
locale = \"en\"
";

/// That of a line whose recipient wants final figures alone.
const PATIENT_CONFIG: &str = "
[report]
provisional = \"hold\"

[[report.delivery]]
report = \"daily-sales\"
to = [\"patient@example.jp\"]
format = [\"csv\"]
locale = \"ko\"
";

const MALLS: [(&str, &str); 2] = [("tokyo", "JPY"), ("seoul", "KRW")];

/// The days that are reported, each in the night after it.
const DAYS: std::ops::RangeInclusive<u32> = 2..=23;

/// The nights in which the database is down.
const DOWN: [u32; 2] = [12, 13];

/// An order as the shop knows it.
#[derive(Clone)]
struct Sold {
    number: String,
    day: u32,
    hour: u32,
    /// What it came to, from each night on.
    amounts: Vec<(u32, i64)>,
    /// The day on which some of it was paid back, and how much, and the first night whose exports say so.
    refund: Option<(u32, i64, u32)>,
}

impl Sold {
    fn amount_in(&self, night: u32) -> i64 {
        self.amounts.iter().rev().find(|(since, _)| *since <= night).expect("it was sold before").1
    }

    fn refund_in(&self, night: u32) -> Option<(u32, i64)> {
        self.refund.filter(|(_, _, since)| *since <= night).map(|(day, amount, _)| (day, amount))
    }
}

/// All that a mall ever sells. Sundays are quiet.
fn sold(mall: &str) -> Vec<Sold> {
    let factor = if mall == "seoul" { 10 } else { 1 };
    let mut sold = Vec::new();
    for day in DAYS.filter(|day| day % 7 != 1) {
        for place in 0..3 + day % 4 {
            let amount = factor * i64::from(1000 + day * 10 + place);
            sold.push(Sold {
                number: format!("{day:02}-{place}"),
                day,
                hour: 9 + place,
                amounts: vec![(0, amount)],
                refund: None,
            });
        }
    }
    let mut change = |number: &str, change: &dyn Fn(&mut Sold)| {
        change(sold.iter_mut().find(|order| order.number == number).expect("it is sold"));
    };
    if mall == "tokyo" {
        // Amended, which the shop's exports show two or three nights later.
        change("07-0", &|order| order.amounts.push((10, 1570)));
        change("19-1", &|order| order.amounts.push((22, 2200)));
    } else {
        // Paid back in part: on a day of which a file comes late, and on one that was already reported.
        change("14-0", &|order| order.refund = Some((17, 3000, 18)));
        change("18-0", &|order| order.refund = Some((19, 500, 22)));
    }
    sold
}

/// What came to a day: orders and net amount.
type Figures = (i64, i64);

/// What a day has really come to, as far as the shop knew in a night.
fn truth(mall: &str, day: u32, night: u32) -> Figures {
    let (mut orders, mut net) = (0, 0);
    for order in sold(mall) {
        if order.day == day {
            orders += 1;
            net += order.amount_in(night);
        }
        net -= order.refund_in(night).filter(|(of, _)| *of == day).map_or(0, |(_, amount)| amount);
    }
    (orders, net)
}

/// A file of the orders of some days, as the shop exports it in a night.
struct Exported {
    mall: &'static str,
    night: u32,
    days: std::ops::RangeInclusive<u32>,
}

impl Exported {
    fn orders(&self) -> impl Iterator<Item = Sold> {
        let days = self.days.clone();
        sold(self.mall).into_iter().filter(move |order| days.contains(&order.day))
    }

    fn content(&self) -> String {
        let mut text =
            "order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount,\
                        member_code,refunded_amount,refunded_at\n"
                .to_owned();
        for order in self.orders() {
            let at = format!("2026-11-{:02} {:02}:00", order.day, order.hour);
            let (number, amount) = (&order.number, order.amount_in(self.night));
            let refund = match order.refund_in(self.night) {
                Some((day, amount)) => format!("{amount},2026-11-{day:02} 12:00"),
                None => ",".to_owned(),
            };
            writeln!(text, "{number},PAID,{at},{at},{amount},P1,1,{amount},M{number},{refund}").unwrap();
        }
        // A file is known by its content: those of two malls with nothing in them must not be the same.
        if self.mall == "seoul" {
            text.push('\n');
        }
        text
    }
}

/// What has arrived: amount and refund of each order, with the night of the export that said so.
#[derive(Default)]
struct Arrived(BTreeMap<(&'static str, String), (u32, Sold)>);

impl Arrived {
    fn take(&mut self, file: &Exported) {
        for order in file.orders() {
            let known = self.0.entry((file.mall, order.number.clone())).or_insert((file.night, order));
            known.0 = known.0.max(file.night);
        }
    }

    fn figures(&self, mall: &str, day: u32) -> Figures {
        let (mut orders, mut net) = (0, 0);
        for ((_, _), (night, order)) in self.0.iter().filter(|((of, _), _)| *of == mall) {
            if order.day == day {
                orders += 1;
                net += order.amount_in(*night);
            }
            net -= order.refund_in(*night).filter(|(of, _)| *of == day).map_or(0, |(_, amount)| amount);
        }
        (orders, net)
    }
}

/// What a mail says of a day, or has to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stated {
    is_provisional: bool,
    /// Of each mall.
    figures: [Figures; 2],
}

/// The words of the mails of a language.
struct Language {
    locale: &'static str,
    provisional: &'static str,
    final_: &'static str,
    correction: &'static str,
    was_final: &'static str,
    reason: &'static str,
    mall: &'static str,
    orders: &'static str,
    net: &'static str,
    /// The mall, a figure before and after.
    changed_net: &'static str,
    changed_orders: &'static str,
}

const LANGUAGES: [Language; 3] = [
    Language {
        locale: "en",
        provisional: "Provisional",
        final_: "Final: ",
        correction: "Correction: ",
        was_final: " (reported as final before)",
        reason: "have not arrived",
        mall: "",
        orders: "  Orders:",
        net: "  Net:",
        changed_net: "  MALL: Net ",
        changed_orders: "  MALL: Orders ",
    },
    Language {
        locale: "ja",
        provisional: "【仮",
        final_: "【確定】",
        correction: "【訂正】",
        was_final: "（確定値の訂正）",
        reason: "未着です",
        mall: "■ ",
        orders: "　注文件数：",
        net: "　純売上　：",
        changed_net: "  MALL：純売上（税込） ",
        changed_orders: "  MALL：注文件数 ",
    },
    Language {
        locale: "ko",
        provisional: "[잠정",
        final_: "[확정] ",
        correction: "[정정] ",
        was_final: "(확정 수치 정정)",
        reason: "아직 들어오지 않았습니다",
        mall: "■ ",
        orders: "  주문:",
        net: "  순매출:",
        changed_net: "  MALL: 순매출 ",
        changed_orders: "  MALL: 주문 건수 ",
    },
];

/// The first number of a text: `¥1,234 net` is 1234.
fn number(text: &str) -> i64 {
    let text = text.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '-');
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '-' && c != ',').unwrap_or(text.len());
    text[..end].replace(',', "").parse().unwrap_or_else(|_| panic!("a number: {text}"))
}

/// What follows a label, in the line that begins with it.
fn after<'t>(text: &'t str, label: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(label))
}

/// The figures of each mall in a mail with a day's sales.
fn stated_by_sales(text: &str, words: &Language) -> [Figures; 2] {
    MALLS.map(|(mall, _)| {
        let heading = format!("\n{}{mall}\n", words.mall);
        let block = &text[text.find(&heading).unwrap_or_else(|| panic!("{mall}: {text}"))..];
        let figure = |label| number(after(block, label).unwrap_or_else(|| panic!("{label}: {text}")));
        (figure(words.orders), figure(words.net))
    })
}

/// The figures of each mall in a mail to management, which also has to state their sums.
fn stated_to_management(text: &str) -> [Figures; 2] {
    let figures = MALLS.map(|(mall, _)| {
        let line = after(text, &format!("  {mall}: ")).filter(|line| line.contains(" net, "));
        // A correction has a line of the same mall before.
        let line = line.or_else(|| {
            text.lines()
                .filter_map(|line| line.strip_prefix(&format!("  {mall}: ")))
                .find(|line| line.contains(" net, "))
        });
        let (net, orders) =
            line.and_then(|line| line.split_once(" net, ")).unwrap_or_else(|| panic!("{mall}: {text}"));
        (number(orders), number(net))
    });
    let of_all = figures[0].0 + figures[1].0;
    assert!(text.contains(&format!("\nOrders: {of_all}\n")), "{of_all} orders: {text}");
    let nets: BTreeSet<i64> =
        text.lines().filter_map(|line| line.strip_prefix("Net sales: ")).map(number).collect();
    assert_eq!(nets, figures.map(|(_, net)| net).into(), "{text}");
    figures
}

/// All that is told to somebody of a report: day by day, what the last mail said.
type Told = BTreeMap<(String, String, u32), Stated>;

/// Reads the mails that were queued since, and holds them against the books.
fn read_mails(shop: &Shop, seen: &mut i64, night: u32, arrived: &Arrived, told: &mut Told) {
    let mails = shop.sql(&format!(
        "SELECT id, kind, recipient, locale, subject, text_body FROM mails WHERE id > {seen} ORDER BY id"
    ));
    for mail in mails {
        let [id, kind, recipient, locale, subject, text] = mail.as_slice() else { unreachable!() };
        *seen = id.parse().unwrap();
        let about = format!("in the night of the {night}th, to {recipient}: {subject}\n{text}");
        let words = LANGUAGES.iter().find(|words| words.locale == locale).unwrap();
        let day = day_of(subject);
        let figures =
            if kind == "executive" { stated_to_management(text) } else { stated_by_sales(text, words) };
        let is_provisional = subject.starts_with(words.provisional);
        assert_eq!(figures, MALLS.map(|(mall, _)| arrived.figures(mall, day)), "what has arrived, {about}");
        if is_provisional {
            assert!(text.contains(words.reason), "why, {about}");
            assert_ne!(recipient, "patient@example.jp", "held back, {about}");
        } else {
            assert_eq!(figures, MALLS.map(|(mall, _)| truth(mall, day, night)), "what is true, {about}");
        }
        let key = (kind.clone(), recipient.clone(), day);
        let before = told.insert(key, Stated { is_provisional, figures });
        let [is_final, is_correction] =
            [words.final_, words.correction].map(|word| subject.starts_with(word));
        match before {
            None => assert!(!is_final && !is_correction, "nothing was told before, {about}"),
            Some(before) => {
                assert!(!before.is_provisional || is_final || is_provisional, "it is final now, {about}");
                assert!(before.is_provisional || is_correction, "it is a correction, {about}");
                if kind == "daily-sales" && !is_provisional {
                    assert_changes(text, words, before.figures, figures, &about);
                }
            }
        }
    }
}

/// The day of November that a subject is about, in any language.
fn day_of(subject: &str) -> u32 {
    let at = subject.find("November 2026").map(|end| subject[..end].trim_end().rsplit(' ').next().unwrap());
    let day = at.unwrap_or_else(|| {
        let (_, rest) = subject.split_once("11月").or_else(|| subject.split_once("11월")).unwrap();
        rest.trim_start()
    });
    u32::try_from(number(day)).unwrap()
}

/// A mail with other figures than the one before lists those that differ, old and new, and no others.
fn assert_changes(text: &str, words: &Language, before: [Figures; 2], now: [Figures; 2], about: &str) {
    let text = &text.replace(words.was_final, "");
    for ((mall, _), (before, now)) in MALLS.iter().zip(before.into_iter().zip(now)) {
        for (label, before, now) in
            [(words.changed_orders, before.0, now.0), (words.changed_net, before.1, now.1)]
        {
            let change = after(text, &label.replace("MALL", mall)).and_then(|line| line.split_once(" → "));
            let change = change.map(|(before, now)| (number(before), number(now)));
            assert_eq!(change, (before != now).then_some((before, now)), "{mall}, {label}, {about}");
        }
    }
}

/// The exit codes of a night: the import, the two daily reports, the lines of the other recipients, that for management.
type Codes = [i32; 6];

/// Those that are expected.
fn codes(night: u32) -> Codes {
    match night {
        // The database's address is one that nobody can use.
        _ if DOWN.contains(&night) => [78; 6],
        // A file of the day before has not come.
        6 | 10 | 18 => [0, 3, 3, 3, 3, 0],
        // The day before is final, but an earlier one that is computed again with it still waits for its file.
        11 => [0, 3, 0, 3, 3, 0],
        _ => [0; 6],
    }
}

/// The files that the shop has put into the inbox by a night.
fn files_of(night: u32) -> Vec<(String, Exported)> {
    let mut files = Vec::new();
    for (mall, _) in MALLS {
        let mut put = |name: &str, days| {
            files.push((format!("{mall}-{name}.csv"), Exported { mall, night, days }));
        };
        let yesterday = night - 1;
        // The files of the first weeks have a day each, later ones the last five days.
        let usual = if night <= 15 { yesterday..=yesterday } else { yesterday - 4..=yesterday };
        let is_missing = mall == "tokyo" && [6, 10].contains(&night) || night == 18;
        if !is_missing {
            put(&format!("{yesterday:02}"), usual);
        }
        if (mall, night) == ("tokyo", 10) {
            put("07-again", 7..=7);
        }
    }
    files
}

/// The files that come in the afternoon before a night, as they were exported then.
fn late_files_of(night: u32) -> Vec<(String, Exported)> {
    let late = |of: u32, exported| {
        (format!("tokyo-{of:02}-late.csv"), Exported { mall: "tokyo", night: exported, days: of..=of })
    };
    match night {
        7 => vec![late(5, 6)],
        12 => vec![late(9, 10)],
        _ => Vec::new(),
    }
}

fn at_the_end_of_the_month_every_figure_is_true_and_no_mail_has_claimed_a_wrong_one(shop: &Shop) {
    for (mall, currency) in MALLS {
        shop.mall(mall, if mall == "tokyo" { "Asia/Tokyo" } else { "Asia/Seoul" }, currency);
    }
    shop.write("batchctl.toml", CONFIG);
    shop.write("patient.toml", PATIENT_CONFIG);
    let (mut arrived, mut told, mut seen) = (Arrived::default(), Told::new(), 0);
    let mut waiting: Vec<Exported> = Vec::new();
    for tonight in 3..=24 {
        for (name, file) in late_files_of(tonight).into_iter().chain(files_of(tonight)) {
            let at = format!("2026-11-{:02}T02:00:00+09:00", file.night);
            export(shop, &format!("inbox/{name}"), &file.content(), &at);
            waiting.push(file);
        }
        if tonight == 11 {
            // An old file again, under its own name and under another one.
            let again = Exported { mall: "tokyo", night: 4, days: 3..=3 };
            for name in ["tokyo-03.csv", "tokyo-copy.csv"] {
                export(shop, &format!("inbox/{name}"), &again.content(), "2026-11-04T02:00:00+09:00");
            }
        }
        let is_down = DOWN.contains(&tonight);
        let run = |batchctl: Batchctl| {
            let batchctl = batchctl.now(&night(tonight));
            let url = shop.refused_database_url();
            if is_down { batchctl.env("BATCHCTL_DATABASE_URL", url) } else { batchctl }.run()
        };
        let import = ["data", "import", "--inbox", "inbox", "--min-age", "0s", "--allow-empty"];
        let mut ran = vec![run(shop.batchctl(import))];
        if !is_down {
            waiting.drain(..).for_each(|file| arrived.take(&file));
        }
        let own_line = ["--mail-to", "own@example.jp", "--format", "csv", "--locale", "ja"];
        ran.push(run(daily_sales(shop, tonight, &[])));
        ran.push(run(shop.batchctl(["report", "daily-cancellations"])));
        ran.push(run(daily_sales(shop, tonight, &own_line)));
        ran.push(run(daily_sales(shop, tonight, &[]).env("BATCHCTL_CONFIG", "patient.toml")));
        ran.push(run(shop.batchctl(["report", "executive"])));
        let found: Vec<Option<i32>> = ran.iter().map(|ran| ran.code).collect();
        assert_eq!(found, codes(tonight).map(Some), "in the night of the {tonight}th: {ran:#?}");
        read_mails(shop, &mut seen, tonight, &arrived, &mut told);
    }

    // Nothing makes up for nights with a wrong address: somebody types the command, which mails nothing.
    let days = ["--from", "2026-11-02", "--to", "2026-11-23"];
    daily_sales(shop, 25, &days).run().succeeds();
    read_mails(shop, &mut seen, 25, &arrived, &mut told);

    for (mall, _) in MALLS {
        let stored: BTreeMap<u32, (Figures, bool)> = shop
            .sql(&format!(
                "SELECT business_day, orders, net_amount, is_final FROM daily_sales
                 WHERE mall_id = (SELECT id FROM malls WHERE code = '{mall}')"
            ))
            .into_iter()
            .map(|row| {
                let figures = (row[1].parse().unwrap(), row[2].parse().unwrap());
                (row[0][8..].parse().unwrap(), (figures, row[3] == "1"))
            })
            .collect();
        let expected: BTreeMap<u32, (Figures, bool)> =
            DAYS.map(|day| (day, (truth(mall, day, 24), true))).collect();
        assert_eq!(stored, expected, "{mall}");
    }
    // Whoever was told anything knows what is true, and nobody has to be told more.
    for ((kind, recipient, day), stated) in &told {
        let figures = MALLS.map(|(mall, _)| truth(mall, *day, 24));
        assert_eq!(
            stated,
            &Stated { is_provisional: false, figures },
            "{kind} of the {day}th to {recipient}"
        );
    }
    for recipient in ["boss@example.jp", "own@example.jp", "patient@example.jp"] {
        for day in DAYS.filter(|day| !DOWN.contains(&(day + 1))) {
            let key = ("daily-sales".to_owned(), recipient.to_owned(), day);
            assert!(told.contains_key(&key), "the {day}th to {recipient}");
        }
    }
    let owed = "SELECT COUNT(*) FROM report_mailings m JOIN report_revisions r
                ON r.report = m.report AND r.period_day = m.period_day AND r.revision > m.revision";
    assert_eq!(shop.scalar(owed), "0");
}
