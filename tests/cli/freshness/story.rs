//! The month of a new user: what goes wrong in the nights of a shop that exports its orders to files.

use std::collections::BTreeMap;

use super::{daily_sales, export, import, night, orders, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![at_the_end_of_the_month_every_figure_is_true_and_no_mail_has_claimed_a_wrong_one];

const DELIVERY: &str = "
[[report.delivery]]
report = \"daily-sales\"
to = [\"boss@example.jp\"]
format = [\"csv\"]

[[report.delivery]]
report = \"executive\"
to = [\"boss@example.jp\"]
";

/// The orders of a day: hour and amount. Sundays are quiet.
fn sales(day: u32) -> Vec<(u32, u32, i64)> {
    if day % 7 == 1 {
        return Vec::new();
    }
    (0..3 + day % 4).map(|place| (day, 9 + place, i64::from(1000 + day * 10 + place))).collect()
}

/// What a day really came to: orders and net amount.
fn truth(day: u32) -> (i64, i64) {
    let sales = sales(day);
    (sales.len().try_into().unwrap(), sales.iter().map(|(_, _, amount)| amount).sum())
}

/// The export of a night: all orders of the last days.
fn exported(days: std::ops::RangeInclusive<u32>) -> String {
    orders(&days.flat_map(sales).collect::<Vec<_>>())
}

fn at_the_end_of_the_month_every_figure_is_true_and_no_mail_has_claimed_a_wrong_one(shop: &Shop) {
    with_tokyo(shop);
    shop.write("batchctl.toml", DELIVERY);
    let at = |day: u32, hour: u32| format!("2026-11-{day:02}T{hour:02}:00:00+09:00");
    for day in 3..=24 {
        // The files of the first weeks have a day each, later ones the last five days.
        let export_of = |day: u32| {
            if day < 15 { exported(day..=day) } else { exported(day - 4..=day) }
        };
        let (yesterday, tonight) = (day - 1, night(day));
        let name = format!("{yesterday:02}.csv");
        match day {
            // The file does not come at all, comes in the afternoon, or the database is down for two nights.
            6 | 10 | 12 | 13 | 18 => {}
            _ => {
                export(shop, &name, &export_of(yesterday), &at(day, 2));
                let mut words = vec!["data", "import", "--kind", "orders", "--mall", "tokyo", &name];
                if sales(yesterday).is_empty() && day < 15 {
                    words.push("--allow-empty");
                }
                shop.batchctl(&words).now(&tonight).run().succeeds();
            }
        }
        if day == 11 {
            // The same file twice, and an old one under its own name and under another one.
            import(shop, &name, &tonight).succeeds();
            import(shop, "03.csv", &tonight).succeeds();
            export(shop, "copy.csv", &format!("{}\n", exported(3..=3)), &at(11, 2));
            import(shop, "copy.csv", &tonight).succeeds();
        }
        let down = |batchctl: crate::support::Batchctl| {
            batchctl.env("BATCHCTL_DATABASE_URL", shop.refused_database_url())
        };
        for job in ["daily-sales", "daily-cancellations", "executive"] {
            let run = shop.batchctl(["report", job]).now(&tonight);
            // What was lost is made up for by the next start of any job, as it is in the docs.
            let ran = if [12, 13].contains(&day) { down(run).run() } else { run.run() };
            assert!([Some(0), Some(1), Some(3), Some(75), Some(78)].contains(&ran.code), "{}", ran.stderr);
        }
        let late = match day {
            // The file of the 5th, in the afternoon of the 6th; that of the 9th two days later.
            6 => Some(5),
            11 => Some(9),
            // Both nights of the outage, once it is over.
            14 => Some(11),
            _ => None,
        };
        if let Some(of) = late {
            let name = format!("{of:02}-late.csv");
            export(shop, &name, &export_of(of), &at(of + 1, 2));
            import(shop, &name, &at(day, 15)).succeeds();
        }
        if day == 14 {
            export(shop, "12-late.csv", &exported(12..=12), &at(13, 2));
            import(shop, "12-late.csv", &at(day, 16)).succeeds();
        }
    }
    // A day that was never reported, because the database was down, is made up for by hand or by the runner.
    daily_sales(shop, 25, &["--from", "2026-11-02", "--to", "2026-11-23"]).run();
    daily_sales(shop, 25, &["--from", "2026-11-02", "--to", "2026-11-23", "--only", "stale"]).run();

    let stored: BTreeMap<u32, (i64, i64, bool)> = shop
        .sql("SELECT business_day, orders, net_amount, is_final FROM daily_sales ORDER BY business_day")
        .into_iter()
        .map(|row| {
            let day = row[0][8..].parse().unwrap();
            (day, (row[1].parse().unwrap(), row[2].parse().unwrap(), row[3] == "1"))
        })
        .collect();
    for day in 2..=23 {
        let (orders, net) = truth(day);
        assert_eq!(stored.get(&day), Some(&(orders, net, true)), "the {day}th");
    }
    let mails = shop.sql("SELECT kind, subject, text_body FROM mails ORDER BY id");
    let mut final_mails = 0;
    for mail in &mails {
        let [kind, subject, text] = mail.as_slice() else { unreachable!() };
        if subject.starts_with("Provisional: ") {
            assert!(text.contains("have not arrived"), "{text}");
            continue;
        }
        let day: u32 = subject.split(' ').rev().nth(2).unwrap().parse().unwrap();
        let (orders, net) = truth(day);
        let claims = if kind == "daily-sales" {
            format!("Orders:   {orders} ")
        } else {
            format!("Orders: {orders}\n")
        };
        assert!(text.contains(&claims), "{subject} has to claim {claims} and {net}:\n{text}");
        final_mails += 1;
    }
    assert!(final_mails > 30, "{final_mails} of {}", mails.len());
    // Every figure that was not final was followed by the final one.
    let standing = "SELECT COUNT(*) FROM report_mailings WHERE is_provisional OR digest IS NULL";
    assert_eq!(shop.scalar(standing), "0");
    let owed = "SELECT COUNT(*) FROM report_mailings m JOIN report_revisions r
                ON r.report = m.report AND r.period_day = m.period_day AND r.revision > m.revision";
    assert_eq!(shop.scalar(owed), "0");
}
