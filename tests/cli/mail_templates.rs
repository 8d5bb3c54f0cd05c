//! `mail templates`: the texts of mails, built in and overridden.

use serde_json::Value;

use crate::support::{Database, Sandbox};

/// The folder of the built-in templates, to check that none is left out.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/mail");
const LANGUAGES: [&str; 3] = ["en", "ja", "ko"];

/// Names and contents.
type Files<'f> = &'f [(&'f str, &'f str)];

/// A sandbox whose `mail.template_dir` is `texts`, with these files in it.
fn overridden(files: Files<'_>) -> Sandbox {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write("batchctl.toml", "[mail]\ntemplate_dir = \"texts\"\n");
    std::fs::create_dir(sandbox.path("texts")).unwrap();
    for (name, content) in files {
        sandbox.write(&format!("texts/{name}"), content);
    }
    sandbox
}

/// A template of our own: its front matter, six lines, and then its text.
fn own(text: &str) -> String {
    format!(
        "+++\nsubject = \"Hello {{{{ member_name }}}}\"\ndescription = \"A test\"\nowner = \"Us\"\n\
         sample = {{ member_name = \"Emma\", is_free = false, articles = [{{ title = \"One\" }}] }}\n+++\n{text}"
    )
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(FOLDER)
        .unwrap()
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".en.txt")?.to_owned()))
        .filter(|name| !name.starts_with('_'))
        .collect();
    names.sort();
    names
}

/// Every text in a sample.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}

#[test]
fn the_built_in_templates_pass_their_own_check_silently() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.batchctl(["mail", "templates", "check"]).run().succeeds().is_silent();
    let said = format!("Checked {} templates\n", names().len());
    assert_eq!(sandbox.batchctl(["-v", "mail", "templates", "check"]).run().succeeds().stderr, said);
}

#[test]
fn every_built_in_template_is_rendered_in_all_three_languages() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    assert!(names().len() >= 9, "{:?}", names());
    for name in names() {
        let mut subjects = Vec::new();
        for language in LANGUAGES {
            let ran = sandbox
                .batchctl(["mail", "templates", "preview", &name, "--locale", language])
                .run()
                .succeeds();
            let (subject, text) = ran.stdout.split_once("\n\n").unwrap();
            subjects.push(subject.to_owned());
            assert!(
                subject.len() > "Subject: ".len() && text.len() > 40,
                "{name} {language}: {}",
                ran.stdout
            );
            assert!(!text.contains("\n\n\n"), "{name} {language} has a gap:\n{text}");
            let html = sandbox.read(&format!("{name}.{language}.preview.html"));
            assert!(html.starts_with("<!DOCTYPE html>\n"), "{name} {language}");
            assert!(html.contains(&format!("<html lang=\"{language}\"")), "{name} {language}");
            assert!(html.len() < 40 * 1024, "{name} {language}: {} bytes", html.len());
            assert!(
                !html.contains("<img")
                    || !html
                        .split("<img")
                        .skip(1)
                        .any(|image| { !image.split('>').next().unwrap().contains(" alt=") }),
                "{name} {language} has a picture without an alternative text"
            );
            for rendered in [text, html.as_str()] {
                assert!(!rendered.contains("{{") && !rendered.contains("{%"), "{name} {language}");
            }
        }
        subjects.dedup();
        assert_eq!(subjects.len(), 3, "{name}: {subjects:?}");
    }
}

#[test]
fn no_value_of_a_sample_gets_into_html_unescaped() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    let hostile = "<b>\"x\" & 'y'</b>";
    for name in names() {
        for language in LANGUAGES {
            let path = format!("{FOLDER}/{name}.{language}.txt");
            let source = std::fs::read_to_string(path).unwrap();
            let front_matter = source.split("+++\n").nth(1).unwrap();
            let table: toml::Table = toml::from_str(front_matter).unwrap();
            let mut sample = serde_json::to_value(&table["sample"]).unwrap();
            fill_nulls(&mut sample, &table);
            poison(&mut sample, hostile);
            sandbox.write("data.json", sample.to_string());
            let arguments = [
                "mail",
                "templates",
                "preview",
                &name,
                "--locale",
                language,
                "--data",
                "data.json",
                "--out",
                "x.html",
            ];
            sandbox.batchctl(arguments).run().succeeds();
            let html = sandbox.read("x.html");
            assert!(!html.contains("<b>"), "{name} {language}");
            assert!(html.contains("&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;"), "{name} {language}");
            let mut seen = Vec::new();
            texts(&sample, &mut seen);
            assert!(seen.iter().any(|text| text.contains(hostile)), "{name} has a text to escape");
        }
    }
}

/// Sets every optional variable that is not in the sample to null.
fn fill_nulls(sample: &mut Value, table: &toml::Table) {
    let optional = table.get("optional").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    for path in optional.iter().filter_map(toml::Value::as_str) {
        match path.split_once('.') {
            None => {
                sample.as_object_mut().unwrap().entry(path).or_insert(Value::Null);
            }
            Some((list, field)) => {
                let items = sample[list].as_array_mut().map(std::mem::take);
                if let Some(mut items) = items {
                    for item in &mut items {
                        item.as_object_mut().unwrap().entry(field).or_insert(Value::Null);
                    }
                    sample[list] = items.into();
                }
            }
        }
    }
}

/// Appends markup to every text that is not a day, time, currency, kind of figure or link.
fn poison(value: &mut Value, hostile: &str) {
    match value {
        Value::String(text) => {
            let is_plain = !text.starts_with(|first: char| first.is_ascii_digit())
                && !text.starts_with("https://")
                && !["JPY", "KRW", "USD", "money", "count", "orders", "people", "percent"]
                    .contains(&text.as_str());
            if is_plain {
                text.push_str(hostile);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| poison(item, hostile)),
        Value::Object(fields) => fields.values_mut().for_each(|field| poison(field, hostile)),
        _ => {}
    }
}

#[test]
fn a_marketing_mail_shows_how_to_unsubscribe_and_a_korean_one_is_labelled() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    for name in ["cart-reminder", "digest"] {
        for language in LANGUAGES {
            let ran = sandbox
                .batchctl(["mail", "templates", "preview", name, "--locale", language])
                .run()
                .succeeds();
            assert!(ran.stdout.contains("/unsubscribe?t=sample"), "{name} {language}");
            let html = sandbox.read(&format!("{name}.{language}.preview.html"));
            assert!(html.contains("/unsubscribe?t=sample\""), "{name} {language}");
            assert_eq!(ran.stdout.starts_with("Subject: (광고) "), language == "ko", "{name} {language}");
        }
    }
}

#[test]
fn a_payment_notice_reads_well_with_and_without_what_may_be_missing() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write("bare.json", r#"{ "member_name": null, "plan_name": "프리미엄", "amount": 9900, "currency": "KRW",
        "charge_day": "2026-11-20", "days_left": 0, "card_last4": null, "payment_method": null, "manage_url": null,
        "cancel_by_day": null }"#);
    let ran = sandbox
        .batchctl(["mail", "templates", "preview", "payment-notice", "--locale", "ko", "--data", "bare.json"])
        .run()
        .succeeds();
    assert_eq!(
        ran.stdout,
        "Subject: [오늘 결제] 프리미엄 9,900원\n\n안녕하세요.\n\n프리미엄 구독을 이용해 주셔서 감사합니다.\n\
         오늘은 구독 요금 결제일입니다.\n\n  구독 상품: 프리미엄\n  결제 금액: 9,900원\n  결제일: 2026년 11월 20일\n\n\
         이 결제는 회원님께서 신청하신 정기 구독 계약에 따른 것이며,\n신청하실 때 선택하신 결제 수단으로 결제하시게 됩니다.\n\
         기억나지 않는 결제이거나 결제에 관해 궁금하신 점이 있으면\n저희에게 문의해 주십시오.\n\n\
         구독을 변경하거나 해지하시려면 이 메일에 회신해 주십시오.\n\
         오늘 해지하시더라도 오늘 결제는 그대로 진행되며, 다음 결제부터\n청구되지 않습니다.\n"
    );
}

#[test]
fn a_payment_notice_mentions_a_card_only_if_there_is_one() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    let shown = |method: &str, last4: &str| {
        let data = format!(
            r#"{{ "member_name": null, "plan_name": "P", "amount": 980, "currency": "JPY", "charge_day": "2026-11-20",
                "days_left": 0, "card_last4": {last4}, "payment_method": {method}, "manage_url": null,
                "cancel_by_day": null }}"#
        );
        sandbox.write("data.json", &data);
        let words =
            ["mail", "templates", "preview", "payment-notice", "--locale", "ja", "--data", "data.json"];
        let text = sandbox.batchctl(words).run().succeeds().stdout;
        [text, sandbox.read("payment-notice.ja.preview.html")]
    };
    for (method, last4, paid_by) in [
        ("\"デビットカード\"", "\"4242\"", "デビットカード（末尾 4242）"),
        ("null", "\"4242\"", "カード（末尾 4242）"),
    ] {
        for text in shown(method, last4) {
            assert!(text.contains(paid_by) && text.contains("カード会社"), "{text}");
        }
    }
    for text in shown("\"コンビニ払い\"", "null") {
        assert!(text.contains("コンビニ払い") && !text.contains("カード"), "{text}");
        assert!(!text.contains("お手続きは"), "{text}");
    }
}

#[test]
fn a_file_in_the_folder_overrides_only_the_built_in_one() {
    let digest = std::fs::read_to_string(format!("{FOLDER}/digest.en.txt")).unwrap();
    let (front_matter, _) = digest.rsplit_once("+++\n").unwrap();
    let sandbox =
        overridden(&[("digest.en.txt", &format!("{front_matter}+++\nShort: {{{{ articles[0].url }}}}\n"))]);
    let ran = sandbox.batchctl(["mail", "templates", "preview", "digest"]).run().succeeds();
    let subject = "Subject: Why small ports are growing again and 1 more";
    assert_eq!(ran.stdout, format!("{subject}\n\nShort: https://news.example.com/articles/801\n"));
    assert!(
        sandbox.read("digest.en.preview.html").contains("Read the article"),
        "the HTML is still built in"
    );

    let sandbox = overridden(&[("digest.en.html", "<p>{{ articles[0].title }}</p>")]);
    let ran = sandbox.batchctl(["mail", "templates", "preview", "digest"]).run().succeeds();
    assert!(ran.stdout.contains("There are 2 new articles for you"), "{}", ran.stdout);
    assert_eq!(sandbox.read("digest.en.preview.html"), "<p>Why small ports are growing again</p>");

    let listed = sandbox.batchctl(["mail", "templates", "list", "--format", "json"]).run().succeeds().stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let english = listed.iter().find(|entry| entry["name"] == "digest" && entry["locale"] == "en").unwrap();
    assert_eq!((&english["text_from"], &english["html_from"]), (&"built-in".into(), &"folder".into()));
    assert_eq!(english["subject"], "Why small ports are growing again and 1 more");
    let table = sandbox.batchctl(["mail", "templates", "list"]).run().succeeds().stdout;
    let row = table.lines().find(|line| line.starts_with("digest")).unwrap();
    assert!(row.contains("en ja ko") && row.contains("folder (en), built in"), "{table}");
}

#[test]
fn a_custom_template_and_a_custom_layout_are_used() {
    let sandbox = overridden(&[
        ("welcome.en.txt", &own("Welcome, {{ member_name }}!\n")),
        ("layout.html", "<main>{% block content %}{% endblock %}</main>"),
        (
            "welcome.en.html",
            "{% extends \"layout.html\" %}{% block content %}{{ member_name }}{% endblock %}",
        ),
    ]);
    let ran = sandbox.batchctl(["mail", "templates", "preview", "welcome"]).run().succeeds();
    assert_eq!(ran.stdout, "Subject: Hello Emma\n\nWelcome, Emma!\n");
    assert_eq!(sandbox.read("welcome.en.preview.html"), "<main>Emma</main>");
    sandbox.batchctl(["mail", "templates", "preview", "digest"]).run().succeeds();
    assert!(sandbox.read("digest.en.preview.html").starts_with("<main>"));
}

#[test]
fn a_folder_that_does_not_exist_is_a_wrong_configuration() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write("batchctl.toml", "[mail]\ntemplate_dir = \"nowhere\"\n");
    for command in [vec!["list"], vec!["check"], vec!["preview", "digest"]] {
        let arguments = ["mail", "templates"].into_iter().chain(command);
        sandbox.batchctl(arguments).run().exits(78).says("`mail.template_dir`").says("it does not exist");
    }
}

#[test]
fn an_unknown_variable_is_named_with_its_file_and_line() {
    let sandbox = overridden(&[("welcome.en.txt", &own("Hello,\n\nwelcome {{ nickname }}.\n"))]);
    sandbox
        .batchctl(["mail", "templates", "preview", "welcome"])
        .run()
        .exits(65)
        .says(&format!("failed to render {} line 9: ", sandbox.path("texts/welcome.en.txt").display()))
        .says("nickname");
}

#[test]
fn a_variable_that_the_data_lacks_is_named_too() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write("data.json", r#"{ "title": "Hello", "url": null, "url_label": null }"#);
    let ran = sandbox
        .batchctl(["mail", "templates", "preview", "notification", "--data", "data.json"])
        .run()
        .exits(65);
    assert_eq!(ran.stdout, "");
    ran.says("notification.en.txt line 14").says("body");
}

#[test]
fn a_syntax_error_is_named_with_its_file_and_line() {
    let cases = [
        ("welcome.en.txt", own("Hello,\n{% if member_name %}\nyou\n"), "welcome.en.txt line "),
        ("welcome.en.txt", own("Hello {{ member_name | shout }}\n"), "welcome.en.txt line 7: "),
        ("welcome.en.txt", own("x").replace("owner = \"Us\"", "owner = Us"), "welcome.en.txt line 4: "),
        ("welcome.en.txt", own("x").replace("owner = \"Us\"", "boss = \"Us\""), "welcome.en.txt line 4: "),
        ("welcome.en.txt", "Hello\n".to_owned(), "welcome.en.txt line 1: no front matter"),
        (
            "welcome.en.txt",
            own("x").replace("Hello {{ member_name }}", " "),
            "welcome.en.txt line 2: the subject is empty",
        ),
        (
            "welcome.en.txt",
            own("x").replace("Hello {{ member_name }}", "a\\nb"),
            "line 2: the subject has more than one line",
        ),
        ("welcome.en.txt", own("x").replace("}}\"", "\""), "welcome.en.txt line 2: "),
        ("layout.html", "\n\n{% block content %}".to_owned(), "layout.html line "),
    ];
    for (file, content, message) in cases {
        let sandbox = overridden(&[(file, &content)]);
        let name = if file == "layout.html" { "digest" } else { "welcome" };
        let ran = sandbox.batchctl(["mail", "templates", "preview", name]).run().exits(65).says(message);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        sandbox.batchctl(["mail", "templates", "check", name]).run().exits(65).says(message);
    }
}

#[test]
fn a_file_that_is_not_utf8_is_named_with_its_line() {
    let sandbox = overridden(&[]);
    // こんにちは, as an editor of a Japanese Windows saves it.
    let mut text = own("Hello\n").into_bytes();
    text.extend([0x82, 0xb1, 0x82, 0xf1, 0x82, 0xc9, 0x82, 0xbf, 0x82, 0xcd, b'\n']);
    sandbox.write("texts/welcome.ja.txt", text);
    sandbox.batchctl(["mail", "templates", "preview", "welcome", "--locale", "ja"]).run().exits(65).says(
        &format!("failed to read {} line 8: it is not UTF-8", sandbox.path("texts/welcome.ja.txt").display()),
    );
}

#[test]
fn a_missing_language_falls_back_and_is_reported() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    let said = "warning: the mail template `digest` has no text in `fr`: used `ja`";
    let ran = sandbox
        .batchctl(["-v", "mail", "templates", "preview", "digest", "--locale", "fr"])
        .env("BATCHCTL_LOCALE", "ja")
        .run()
        .succeeds()
        .says(said);
    assert!(ran.stdout.contains("新着記事"), "{}", ran.stdout);
    let ran = sandbox
        .batchctl(["-v", "mail", "templates", "preview", "digest", "--locale", "ja_JP"])
        .run()
        .succeeds();
    assert!(ran.stdout.contains("新着記事"), "{}", ran.stdout);
    ran.never_shows("warning");
}

#[test]
fn a_preview_replaces_a_link_and_not_what_it_leads_to() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write("precious.txt", "precious");
    std::os::unix::fs::symlink(sandbox.path("precious.txt"), sandbox.path("figures.html")).unwrap();
    let preview = ["mail", "templates", "preview", "executive", "--out", "figures.html"];
    sandbox.batchctl(preview).run().succeeds();
    assert_eq!(sandbox.read("precious.txt"), "precious");
    assert!(sandbox.read("figures.html").contains("<html"));
}

#[test]
fn a_preview_reports_where_the_html_is_and_shows_the_chart_of_the_mail() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    let arguments = ["-v", "mail", "templates", "preview", "executive", "--out", "figures.html"];
    sandbox.batchctl(arguments).run().succeeds().says("Wrote the HTML part to").says("figures.html");
    let html = sandbox.read("figures.html");
    assert!(html.contains("src=\"data:image/svg+xml,") && !html.contains("cid:chart"), "{html}");
    assert!(html.contains("alt=\"Chart: net sales of the last 30 days, up to 19 November 2026\""), "{html}");
    let arguments = ["mail", "templates", "preview", "executive", "--out", "no/such/folder.html"];
    sandbox.batchctl(arguments).run().exits(1).says("no/such/folder.html`: the directory");
}

#[test]
fn data_that_is_not_a_json_object_is_bad_input() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write("list.json", "[1]");
    sandbox.write("broken.json", "{\n  \"title\": \n}");
    for (file, message) in
        [("list.json", "it is not a JSON object"), ("broken.json", "line 3"), ("none.json", "failed to read")]
    {
        let arguments = ["mail", "templates", "preview", "notification", "--data", file];
        sandbox.batchctl(arguments).run().exits(65).says(message).says(file);
    }
}

#[test]
fn an_unknown_template_is_bad_input_with_a_hint() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    for command in ["preview", "check"] {
        let ran = sandbox.batchctl(["mail", "templates", command, "daily-sale"]).run().exits(65);
        ran.says("unknown mail template `daily-sale`").says("did you mean `daily-sales`?");
    }
    sandbox
        .batchctl(["mail", "templates", "preview", "../../etc/passwd"])
        .run()
        .exits(65)
        .says("unknown mail template");
}

#[test]
fn a_check_finds_what_no_sample_would_show() {
    let marketing = own("x").replace("owner = \"Us\"", "owner = \"Us\"\ncategory = \"marketing\"");
    let with_link = marketing.replace("is_free = false", "unsubscribe_url = \"https://x.example/u\"");
    let korean = with_link.replace("subject = \"", "subject = \"(광고) ");
    let cases: [(&str, Files<'_>, &str); 10] = [
        (
            "a branch not taken",
            &[("own.en.txt", &own("a\n{% if is_free %}\n{{ subscribe_link }}\n{% endif %}\n"))],
            "own.en.txt line 9: unknown variable `subscribe_link`",
        ),
        (
            "in the HTML alone",
            &[("own.en.txt", &own("x")), ("own.en.html", "<p>\n{% if is_free %}{{ member_nam }}{% endif %}")],
            "own.en.html line 2: unknown variable `member_nam`",
        ),
        (
            "a field in a loop, in a branch not taken",
            &[(
                "own.en.txt",
                &own(
                    "{% for article in articles %}{% if is_free %}{{ article.summary }}{% endif %}{% endfor %}",
                ),
            )],
            "own.en.txt line 7: ",
        ),
        (
            "in the subject",
            &[(
                "own.en.txt",
                &own("x").replace("Hello {{", "Hello {% if is_free %}{{ nickname }}{% endif %} {{"),
            )],
            "own.en.txt line 2: unknown variable `nickname`",
        ),
        ("HTML without a text", &[("own.en.html", "<p>")], "own.en.html has no text part: add own.en.txt"),
        (
            "advertising without a variable",
            &[("own.en.txt", &marketing)],
            "its sample needs an `unsubscribe_url`",
        ),
        (
            "advertising without a link",
            &[("own.en.txt", &with_link)],
            "own.en.txt is marketing and does not show",
        ),
        (
            "Korean advertising without the mark",
            &[("own.ko.txt", &with_link)],
            "own.ko.txt: the subject does not begin with `(광고)`",
        ),
        (
            "Korean advertising without a refusal in Korean",
            &[("own.ko.txt", &korean)],
            "own.ko.txt: the text does not say how to refuse advertising",
        ),
        (
            "a null where one may be",
            &[(
                "own.en.txt",
                &own("{{ member_name }}").replace("owner =", "optional = [\"member_name\"]\nowner ="),
            )],
            "the value is null",
        ),
    ];
    for (what, files, message) in cases {
        let sandbox = overridden(files);
        let ran = sandbox.batchctl(["mail", "templates", "check", "own"]).run().exits(65);
        assert!(ran.stderr.contains(message), "{what}: {}", ran.stderr);
        // The other templates are not affected.
        sandbox.batchctl(["mail", "templates", "check", "digest"]).run().succeeds().is_silent();
    }
}

#[test]
fn a_missing_language_is_a_warning_and_not_a_failure() {
    let sandbox = overridden(&[("own.en.txt", &own("{{ member_name }}"))]);
    sandbox.batchctl(["mail", "templates", "check"]).run().succeeds().is_silent();
    let ran = sandbox.batchctl(["-v", "mail", "templates", "check", "own"]).run().succeeds();
    assert_eq!(
        ran.stderr,
        "warning: own has no text in `ja`: its mails fall back to another language\n\
         warning: own has no text in `ko`: its mails fall back to another language\n\
         Checked 1 template, with 2 warnings\n"
    );
}
