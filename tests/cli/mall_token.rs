//! `mall token`: the authorisations of malls, against a local Cafe24.

use serde_json::{Value, json};

use crate::support::cafe24::{CLIENT_SECRET, SECRET_KEY, korean_time, set_tokens};
use crate::support::{Cafe24, Sandbox, eventually, on_both_databases};

on_both_databases![
    tokens_are_stored_encrypted_and_shown_nowhere,
    a_bare_refresh_token_is_exchanged_at_once,
    a_new_pair_is_stored_again_until_the_database_accepts_it,
    tokens_of_another_account_are_refused,
    an_invalid_token_is_refused_and_not_shown,
    an_old_token_is_renewed_and_a_young_one_left,
    two_renewals_at_once_are_one,
    two_processes_that_need_a_new_token_use_one,
    an_abandoned_claim_is_taken_over,
    a_lost_answer_ends_in_a_clear_rejection,
    a_revoked_app_is_reported_each_night_with_the_days_left,
    one_dead_mall_leaves_the_others_alive,
    wrong_credentials_of_the_app_invalidate_no_token,
    a_server_that_is_down_invalidates_no_token,
    a_missing_key_is_named,
    another_key_is_named_with_the_account,
    a_replaced_key_opens_tokens_until_all_are_encrypted_with_the_new_one,
    a_moved_row_does_not_open,
    the_owner_authorises_the_app,
    an_address_of_another_authorisation_is_refused,
    a_mall_shows_its_account_and_its_token,
    malls_of_other_platforms_have_no_tokens,
];

/// A sandbox with a server and the mall `shop1`.
fn with_mall(sandbox: &Sandbox) -> Cafe24 {
    let cafe24 = Cafe24::start();
    cafe24.configure(sandbox, "");
    cafe24.add_mall(sandbox, "shop1");
    cafe24
}

/// The account's tokens, as they would be if the pair had been issued this many days ago.
fn made_days_ago(cafe24: &Cafe24, sandbox: &Sandbox, mall: &str, days: i64) {
    let mut answer = cafe24.tokens(mall);
    answer["issued_at"] = json!(korean_time(-24 * days));
    answer["expires_at"] = json!(korean_time(2 - 24 * days));
    answer["refresh_token_expires_at"] = json!(korean_time(24 * (14 - days)));
    set_tokens(sandbox, mall, &answer);
}

fn version(sandbox: &Sandbox, account: &str) -> String {
    sandbox.scalar(&format!("SELECT version FROM api_tokens WHERE account = '{account}'"))
}

/// The state of each mall's tokens.
fn states(sandbox: &Sandbox) -> Vec<(String, String)> {
    let shown = sandbox.batchctl(["mall", "token", "status", "--format", "json"]).run().succeeds();
    let rows: Value = serde_json::from_str(&shown.stdout).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(|row| (text(row, "mall"), text(row, "state"))).collect()
}

fn state(sandbox: &Sandbox) -> String {
    states(sandbox)[0].1.clone()
}

fn tokens_are_stored_encrypted_and_shown_nowhere(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let answer = cafe24.tokens("shop1");
    set_tokens(sandbox, "shop1", &answer);
    let secrets = [
        answer["access_token"].as_str().unwrap(),
        answer["refresh_token"].as_str().unwrap(),
        CLIENT_SECRET,
        SECRET_KEY,
    ];
    let mut shown = String::new();
    for arguments in [
        &["mall", "token", "status", "-v"][..],
        &["mall", "token", "refresh", "--all", "-vv"],
        &["mall", "show", "shop1"],
        &["mall", "list"],
        &["runs", "list"],
        &["env", "show"],
    ] {
        let ran = sandbox.batchctl(arguments).run().succeeds();
        shown += &(ran.stdout + &ran.stderr);
    }
    assert!(shown.contains("Cafe24 OAuth: POST /shop1/api/v2/oauth/token: 200, 1 rows, "), "{shown}");
    shown += &sandbox.dump();
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(sandbox.scalar("SELECT refresh_token FROM api_tokens").starts_with("v1:"));
    assert_eq!(state(sandbox), "ok");
}

fn a_bare_refresh_token_is_exchanged_at_once(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let token = cafe24.tokens("shop1")["refresh_token"].as_str().unwrap().to_owned();
    let set = || sandbox.batchctl(["mall", "token", "set", "shop1"]).stdin(format!("{token}\n"));
    set().run().succeeds().is_silent();
    assert_eq!(cafe24.summary("shop1", "refreshes"), 1);
    let before = sandbox.dump();
    // It is used up; the stored tokens stay.
    set().run().exits(1).says("HTTP 400").never_shows(&token);
    assert_eq!(sandbox.dump(), before);
}

fn a_new_pair_is_stored_again_until_the_database_accepts_it(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let token = cafe24.tokens("shop1")["refresh_token"].as_str().unwrap().to_owned();
    sandbox.execute("ALTER TABLE api_tokens RENAME TO away");
    let set = sandbox.batchctl(["mall", "token", "set", "shop1", "-vv"]).stdin(token).spawn();
    let again = "failed to store new tokens; trying again";
    eventually(|| set.so_far().stderr.contains(again), "the database does not take it");
    sandbox.execute("ALTER TABLE away RENAME TO api_tokens");
    set.wait().succeeds();
    assert_eq!((version(sandbox, "shop1").as_str(), cafe24.summary("shop1", "refreshes")), ("2", 1));
    sandbox.batchctl(["mall", "token", "refresh", "--all"]).run().succeeds();
}

fn tokens_of_another_account_are_refused(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let before = sandbox.dump();
    let answer = cafe24.tokens("shop2").to_string();
    let set = sandbox.batchctl(["mall", "token", "set", "shop1"]).stdin(answer);
    set.run().exits(65).says("the tokens belong to account `shop2`, not to `shop1`");
    assert_eq!(sandbox.dump(), before);
}

fn an_invalid_token_is_refused_and_not_shown(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let before = sandbox.dump();
    for wrong in
        ["", "canary one two", "{\"access_token\": \"canary\"}", "{\"access_token\": 7331}", "{canary"]
    {
        let set = sandbox.batchctl(["mall", "token", "set", "shop1"]).stdin(wrong);
        set.run().exits(65).says("from stdin").never_shows("canary").never_shows("7331");
    }
    assert_eq!((sandbox.dump(), cafe24.summary("shop1", "refreshes")), (before, 0));
}

fn an_old_token_is_renewed_and_a_young_one_left(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    sandbox.batchctl(["mall", "token", "refresh"]).run().succeeds().is_silent();
    assert_eq!(version(sandbox, "shop1"), "1");
    made_days_ago(&cafe24, sandbox, "shop1", 6);
    assert_eq!(state(sandbox), "ok");
    sandbox.batchctl(["mall", "token", "refresh"]).run().succeeds().is_silent();
    assert_eq!((version(sandbox, "shop1").as_str(), cafe24.summary("shop1", "refreshes")), ("3", 1));
    made_days_ago(&cafe24, sandbox, "shop1", 11);
    assert_eq!(state(sandbox), "refresh soon");
    sandbox.batchctl(["mall", "token", "refresh", "--mall", "shop1"]).run().succeeds();
    assert_eq!((state(sandbox).as_str(), cafe24.summary("shop1", "refreshes")), ("ok", 2));
    assert_eq!(cafe24.log("shop1")["summary"]["live_refresh_token_is_unused"], json!(true));
}

fn two_renewals_at_once_are_one(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    cafe24.control("shop1", "faults", &json!({"rules": [{"path": "oauth/token", "fault": "hold"}]}));
    let first = sandbox.batchctl(["mall", "token", "refresh", "--all"]).spawn();
    eventually(|| cafe24.summary("shop1", "held") == 1, "the first one asks");
    sandbox.batchctl(["mall", "token", "refresh", "--all"]).run().exits(75);
    cafe24.control("shop1", "release", &json!({}));
    first.wait().succeeds();
    assert_eq!((version(sandbox, "shop1").as_str(), cafe24.summary("shop1", "refreshes")), ("2", 1));
}

/// A second process that finds the row claimed waits for the first one's pair and requests none itself.
fn two_processes_that_need_a_new_token_use_one(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let claimed = |seconds: i64| {
        let until = (crate::support::machine_time() + chrono::TimeDelta::seconds(seconds)).to_rfc3339();
        sandbox.execute(&format!("UPDATE api_tokens SET claimed_by = 'other', claimed_until = '{until}'"));
    };
    claimed(3600);
    let second = sandbox.batchctl(["mall", "token", "refresh", "--all", "-vv"]).spawn();
    let waits = "another process is refreshing the tokens of account `shop1`";
    eventually(|| second.so_far().stderr.contains(waits), "the second one waits");
    // The first one's pair arrives.
    sandbox.execute("UPDATE api_tokens SET version = version + 1, claimed_by = NULL, claimed_until = NULL");
    second.wait().succeeds();
    assert_eq!((version(sandbox, "shop1").as_str(), cafe24.summary("shop1", "refreshes")), ("2", 0));
}

fn an_abandoned_claim_is_taken_over(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let past = (crate::support::machine_time() - chrono::TimeDelta::seconds(1)).to_rfc3339();
    sandbox.execute(&format!("UPDATE api_tokens SET claimed_by = 'dead', claimed_until = '{past}'"));
    sandbox.batchctl(["mall", "token", "refresh", "--all"]).run().succeeds();
    assert_eq!((version(sandbox, "shop1").as_str(), cafe24.summary("shop1", "refreshes")), ("2", 1));
    assert_eq!(sandbox.scalar("SELECT claimed_by FROM api_tokens"), "NULL");
}

fn a_lost_answer_ends_in_a_clear_rejection(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    cafe24.control("shop1", "faults", &json!({"rules": [{"path": "oauth/token", "fault": "lost"}]}));
    let refresh = || sandbox.batchctl(["mall", "token", "refresh", "--all"]);
    let hint = &sandbox.command("dev", "mall token authorize shop1");
    refresh().run().exits(1).says("HTTP 400").says("invalid_grant").says(hint);
    assert_eq!((version(sandbox, "shop1").as_str(), state(sandbox).as_str()), ("1", "rejected"));
    let (refreshes, refused) =
        (cafe24.summary("shop1", "refreshes"), cafe24.summary("shop1", "refused_refreshes"));
    assert_eq!(refused, 1);
    // Later ones do not ask again.
    refresh().run().exits(1).says("the tokens of account `shop1` are rejected").says(hint);
    assert_eq!(cafe24.summary("shop1", "refused_refreshes"), 1);
    assert_eq!(cafe24.summary("shop1", "refreshes"), refreshes);
    sandbox.batchctl(["mall", "show", "shop1"]).run().succeeds().prints("rejected");
    // New tokens resolve it.
    set_tokens(sandbox, "shop1", &cafe24.tokens("shop1"));
    assert_eq!(state(sandbox), "ok");
    refresh().run().succeeds();
}

fn a_revoked_app_is_reported_each_night_with_the_days_left(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    made_days_ago(&cafe24, sandbox, "shop1", 6);
    cafe24.control("shop1", "settings", &json!({"revoked": true}));
    let refresh = || sandbox.batchctl(["mall", "token", "refresh"]);
    refresh().run().exits(1).says("7 days left").says("rejected");
    refresh().run().exits(1).says("the tokens of account `shop1` are rejected");
    let errors = "SELECT COUNT(*) FROM batch_error_log WHERE item_key = 'shop1' AND error_class = 'FAILED'";
    assert_eq!(sandbox.scalar(errors), "2");
}

fn one_dead_mall_leaves_the_others_alive(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    cafe24.add_mall(sandbox, "shop2");
    sandbox.batchctl(["mall", "add", "shop3", "--platform", "cafe24", "--currency", "KRW"]).run().succeeds();
    cafe24.control("shop1", "settings", &json!({"revoked": true}));
    sandbox.batchctl(["mall", "token", "refresh", "--all"]).run().exits(3).says("shop1").says("shop3");
    let expected = [("shop1", "rejected"), ("shop2", "ok"), ("shop3", "missing")];
    assert_eq!(states(sandbox), expected.map(|(mall, state)| (mall.to_owned(), state.to_owned())));
    assert_eq!(version(sandbox, "shop2"), "2");
}

fn wrong_credentials_of_the_app_invalidate_no_token(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let refresh = || sandbox.batchctl(["mall", "token", "refresh", "--all"]);
    let wrong = refresh().env("BATCHCTL_CAFE24_CLIENT_SECRET", "canary-wrong-secret");
    wrong.run().exits(78).says("invalid_client").never_shows("canary-wrong");
    refresh().env("BATCHCTL_CAFE24_CLIENT_SECRET", "").run().exits(78).says("BATCHCTL_CAFE24_CLIENT_SECRET");
    assert_eq!(state(sandbox), "ok");
    refresh().run().succeeds();
    assert_eq!(version(sandbox, "shop1"), "2");
    drop(cafe24);
}

fn a_server_that_is_down_invalidates_no_token(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let rules = json!({"rules": [{"path": "oauth/token", "fault": "status", "status": 503, "times": 3}]});
    cafe24.control("shop1", "faults", &rules);
    let refresh = || sandbox.batchctl(["mall", "token", "refresh", "--all"]);
    refresh().run().exits(75).says("HTTP 503").says(", 3 tries from 20").says("13 days left");
    assert_eq!(state(sandbox), "ok");
    // The next one finds no claim.
    refresh().run().succeeds();
}

fn a_missing_key_is_named(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let answer = cafe24.tokens("shop1").to_string();
    for arguments in [&["mall", "token", "set", "shop1"][..], &["mall", "token", "refresh", "--all"]] {
        let command = sandbox.batchctl(arguments).stdin(answer.clone()).env("BATCHCTL_SECRET_KEY", "");
        command.run().exits(78).says("BATCHCTL_SECRET_KEY");
    }
    let status = sandbox.batchctl(["mall", "token", "status"]).env("BATCHCTL_SECRET_KEY", "");
    status.run().succeeds().prints("unreadable");
}

fn another_key_is_named_with_the_account(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let other = "canary-another-key-of-32-characters-and-more";
    let refresh = sandbox.batchctl(["mall", "token", "refresh", "--all"]).env("BATCHCTL_SECRET_KEY", other);
    refresh.run().exits(78).says("failed to open the tokens of account `shop1` with BATCHCTL_SECRET_KEY");
    let class = sandbox.scalar("SELECT error_class FROM batch_error_log");
    assert_eq!((class.as_str(), cafe24.summary("shop1", "refreshes")), ("CONFIGURATION", 0));
    let status = sandbox.batchctl(["mall", "token", "status"]).env("BATCHCTL_SECRET_KEY", other);
    status.run().succeeds().prints("unreadable");
}

fn a_replaced_key_opens_tokens_until_all_are_encrypted_with_the_new_one(sandbox: &Sandbox) {
    let _cafe24 = with_mall(sandbox);
    let new = "canary-another-key-of-32-characters-and-more";
    let with = |words: &[&str], previous: &str| {
        let command = sandbox.batchctl(words.iter().copied()).env("BATCHCTL_SECRET_KEY", new);
        command.env("BATCHCTL_SECRET_KEY_PREVIOUS", previous).run()
    };
    // Docs/mail.md's steps.
    with(&["mall", "token", "status"], SECRET_KEY).succeeds().prints("ok");
    with(&["mall", "token", "refresh", "--all"], SECRET_KEY).succeeds();
    with(&["mall", "token", "status"], "").succeeds().prints("ok");
    with(&["mall", "token", "refresh", "--all"], "").succeeds();
    let status = sandbox.batchctl(["mall", "token", "status"]);
    status.run().succeeds().prints("unreadable");
}

fn a_moved_row_does_not_open(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    cafe24.add_mall(sandbox, "shop2");
    sandbox.execute(
        "UPDATE api_tokens SET refresh_token = (SELECT t.refresh_token FROM api_tokens t WHERE t.account = 'shop1')
         WHERE account = 'shop2'",
    );
    sandbox.batchctl(["mall", "token", "refresh", "--all"]).run().exits(3).says("account `shop2`");
    assert_eq!((cafe24.summary("shop1", "refreshes"), cafe24.summary("shop2", "refreshes")), (1, 0));
}

fn the_owner_authorises_the_app(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let mut running = sandbox
        .batchctl([
            "mall",
            "token",
            "authorize",
            "shop1",
            "--redirect-uri",
            "https://shop.example.jp/back",
            "-v",
        ])
        .through_shell("mkfifo answer; \"$@\" <>answer")
        .spawn();
    eventually(|| running.has_ended() || running.so_far().stdout.ends_with('\n'), "the address is printed");
    let address = running.so_far().stdout;
    let path =
        address.trim().split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
    let (status, back) = cafe24.ask("GET", &path.expect("an address"), "");
    assert!(status == 302 && back.starts_with("https://shop.example.jp/back?"), "{status} {back}");
    std::fs::OpenOptions::new()
        .write(true)
        .open(sandbox.path("answer"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, format!("{back}\n").as_bytes()))
        .unwrap();
    running.wait().succeeds().says("Authorised mall `shop1` (account shop1)");
    assert_eq!((version(sandbox, "shop1").as_str(), state(sandbox).as_str()), ("2", "ok"));
}

fn an_address_of_another_authorisation_is_refused(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    let before = sandbox.dump();
    let authorize = |answer: &str| {
        sandbox
            .batchctl([
                "mall",
                "token",
                "authorize",
                "shop1",
                "--redirect-uri",
                "https://shop.example.jp/back",
            ])
            .stdin(answer)
            .run()
    };
    authorize("https://shop.example.jp/back?code=canary-code&state=guessed\n")
        .exits(77)
        .never_shows("canary-code");
    authorize("canary-code\n").exits(1).says("HTTP 400").never_shows("canary-code");
    authorize("").exits(65);
    let without = sandbox.batchctl(["mall", "token", "authorize", "shop1"]);
    without.run().exits(78).says("cafe24.redirect_uri");
    assert_eq!(sandbox.dump(), before);
    drop(cafe24);
}

fn a_mall_shows_its_account_and_its_token(sandbox: &Sandbox) {
    let cafe24 = Cafe24::start();
    cafe24.configure(sandbox, "");
    let add = [
        "mall",
        "add",
        "tokyo",
        "--platform",
        "cafe24",
        "--currency",
        "KRW",
        "--account",
        "shop9",
        "--shop-no",
        "2",
    ];
    sandbox.batchctl(add).run().succeeds();
    let show = || sandbox.batchctl(["mall", "show", "tokyo"]).run().succeeds();
    show().prints("shop9, shop 2").prints("missing");
    // By its account too, as hints name it.
    let set = sandbox.batchctl(["mall", "token", "set", "shop9"]).stdin(cafe24.tokens("shop9").to_string());
    set.run().succeeds();
    show().prints("ok, until ").prints("members    0").prints("orders     0");
    // Changing something else leaves them.
    sandbox.batchctl(["mall", "add", "tokyo", "--name", "Tokyo"]).run().succeeds();
    show().prints("shop9, shop 2").prints("Tokyo");
}

fn malls_of_other_platforms_have_no_tokens(sandbox: &Sandbox) {
    let cafe24 = with_mall(sandbox);
    sandbox.batchctl(["mall", "add", "main", "--currency", "JPY"]).run().succeeds();
    for arguments in [
        &["mall", "token", "status", "--mall", "main"][..],
        &["mall", "token", "authorize", "main", "--redirect-uri", "https://a.jp"],
    ] {
        sandbox.batchctl(arguments).run().exits(2).says("mall `main` is on the platform `csv`");
    }
    assert_eq!(states(sandbox).len(), 1);
    drop(cafe24);
}
