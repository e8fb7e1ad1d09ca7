//! What can be written, what is told when it is wrong.

use super::*;

const SHOP: &str = "[shop.acme]\ncurrency = \"EUR\"\n[shop.acme.sources.shopify]\nsecrets = [\"env:S\", \"plain\"]\n";

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::read(Some((Path::new("/etc/storehand/shop.toml"), text)), &variables, &["shopify", "standard"])
}

fn mistakes(text: &str) -> String {
    read(text, &[("S", "one")]).expect_err("mistakes").to_string()
}

#[test]
fn defaults_alone_are_a_configuration() {
    let config = Config::read(None, &BTreeMap::new(), &[]).expect("defaults");
    assert!(config.server.listen.ip().is_loopback() && config.shops.is_empty());
    assert_eq!((config.server.body_limit, config.store.folder()), (1024 * 1024, Path::new("data")));
    assert!(config.settings.iter().all(|setting| setting.origin == Origin::Default));
}

#[test]
fn variables_win_over_the_file_and_the_file_over_defaults() {
    let text = format!("[server]\nlisten = \"127.0.0.1:1\"\nbody_limit = \"2 MiB\"\n{SHOP}");
    let variables =
        [("S", "one"), ("STOREHAND_SERVER__LISTEN", "127.0.0.1:2"), ("STOREHAND_SHOP__ACME__RULES", "mine")];
    let config = read(&text, &variables).expect("config");
    assert_eq!((config.server.listen.port(), config.server.body_limit), (2, 2 * 1024 * 1024));
    let origin = |key: &str| {
        let setting = config.settings.iter().find(|setting| setting.key == key).expect(key);
        format!("{} {}", setting.value, setting.origin)
    };
    assert_eq!(origin("server.listen"), "\"127.0.0.1:2\" STOREHAND_SERVER__LISTEN");
    assert_eq!(origin("server.body_limit"), "\"2 MiB\" /etc/storehand/shop.toml:3");
    assert_eq!(origin("server.read_timeout"), "\"10s\" default");
    assert_eq!(origin("shop.acme.sources.shopify.secrets"), "[••• (env:S), •••] /etc/storehand/shop.toml:7");
    let shop = config.shops.values().next().expect("shop");
    let secrets: Vec<&str> = shop.sources["shopify"].iter().map(Secret::reveal).collect();
    assert_eq!((secrets, shop.rules.as_path()), (vec!["one", "plain"], Path::new("mine")));
    assert_eq!(config.store.file, Path::new("/etc/storehand/data/storehand.db"), "beside the file");
}

#[test]
fn all_mistakes_are_told_at_once_with_line_and_way_out() {
    let told = mistakes(
        "[server]\nlissten = \"x\"\nlisten = \"x\"\nbody_limit = \"9 GiB\"\n[shop.acme]\ncurrency = \"EURO\"\n\
         [shop.acme.sources.shopfy]\nsecrets = []\n[shop.\"A b\"]\n",
    );
    for wanted in [
        "shop.toml:2: server.lissten: there is no such setting\n  hint: did you mean `listen`?",
        "shop.toml:3: server.listen: `x`",
        "shop.toml:4: server.body_limit: this is out of bounds",
        "shop.toml:6: shop.acme.currency: `EURO`",
        "`A b` cannot be a shop's name",
    ] {
        assert!(told.contains(wanted), "{wanted}\n---\n{told}");
    }
    let told = mistakes("[shop.acme]\ncurrency = \"EUR\"\n[shop.acme.sources.shopfy]\nsecrets = []\n");
    assert!(told.contains("did you mean `shopify`?") && told.contains("anybody could sign"), "{told}");
    assert!(mistakes("[server\n").contains("shop.toml:1: "));
    assert!(mistakes("server = 3\n").contains("shop.toml:1: server: this must be a table"));
    assert!(mistakes("[shop.acme]\n").contains("shop.acme.currency: this setting is missing"));
}

#[test]
fn fuses_hold_for_every_shop_that_does_not_say_otherwise_and_off_takes_one_out() {
    let text = format!(
        "[shop_defaults.fuses]\nper_customer = \"5/d\"\n{SHOP}[shop.acme.fuses]\nmoney = \"300/h\"\ncalls = \"off\"\n"
    );
    let variables = [("S", "x"), ("STOREHAND_SHOP__ACME__FUSES__RUNS_PER_SUBJECT", "9/m")];
    let fuses = read(&text, &variables).expect("config").shops.into_values().next().expect("shop").fuses;
    let shown = |rate: Option<crate::domain::Rate>| rate.map(|rate| rate.to_string());
    assert_eq!(fuses.limits.money.map(|rate| rate.to_string()).as_deref(), Some("300.00 EUR/h"), "in its own currency");
    assert_eq!((shown(fuses.limits.calls), shown(fuses.limits.per_customer)), (None, Some("5/d".into())));
    assert_eq!(shown(fuses.runs_per_subject).as_deref(), Some("9/m"));
}

#[test]
fn a_wrong_fuse_is_told_with_where_it_stands_and_how_one_is_written() {
    let told = mistakes(&format!(
        "{SHOP}[shop.acme.fuses]\ncalls = \"lots\"\nmoney = \"0 EUR/d\"\nper_customer = 5\nruns_per_subject = \"0/h\"\n\
         call = \"5/h\"\n"
    ));
    for (line, key, why) in [
        (6, "calls", "does not say within how long"),
        (7, "money", "allows nothing"),
        (8, "per_customer", "is not a text"),
        (9, "runs_per_subject", "is not a count from 1 to 1,000,000"),
        (10, "call", "there is no such setting\n  hint: did you mean `calls`?"),
    ] {
        let place = format!("shop.toml:{line}: shop.acme.fuses.{key}: ");
        let one =
            told.split("/etc/storehand/").find(|one| one.contains(&place)).unwrap_or_else(|| panic!("{place}\n{told}"));
        assert!(one.contains(why) && one.contains("hint: "), "{one}");
    }
    let told = read(SHOP, &[("S", "x"), ("STOREHAND_SHOP__ACME__FUSES__CALLS", "5")]).expect_err("mistake").to_string();
    assert!(told.contains("STOREHAND_SHOP__ACME__FUSES__CALLS") && told.contains("\"off\""), "{told}");
}

#[test]
fn how_long_things_are_kept_is_a_day_at_least_or_forever() {
    let keep = |text: &str| {
        let config = read(&format!("[shop_defaults]\nkeep = \"{text}\"\n{SHOP}"), &[("S", "x")]);
        config.map(|config| config.shops.into_values().next().and_then(|shop| shop.keep).map(|keep| keep.as_hours()))
    };
    assert_eq!(
        read(SHOP, &[("S", "x")]).expect("config").shops.values().next().and_then(|shop| shop.keep),
        Some(SignedDuration::from_hours(90 * 24))
    );
    assert_eq!((keep("2w").expect("config"), keep("forever").expect("config")), (Some(14 * 24), None));
    for (text, why) in
        [("90", "write the unit too"), ("23h", "at least a day"), ("", "whole number"), ("never", "whole number")]
    {
        let told = keep(text).expect_err("mistake").to_string();
        assert!(
            told.contains("shop.toml:2: shop.acme.keep: ") && told.contains(why) && told.contains("\"forever\""),
            "{told}"
        );
    }
}

#[test]
fn a_secret_is_never_in_a_message() {
    for (text, wanted) in [
        ("env:NOBODY", "the variable NOBODY is not set"),
        ("file:/nowhere/at-all", "cannot read /nowhere/at-all"),
        ("  ", "the secret is empty"),
    ] {
        let told = mistakes(&format!(
            "[shop.acme]\ncurrency = \"EUR\"\n[shop.acme.secrets]\nok = \"hunter2\"\nx = \"{text}\"\n"
        ));
        assert!(told.contains(wanted) && !told.contains("hunter2"), "{told}");
    }
    let told =
        mistakes("[shop.acme]\ncurrency = \"EUR\"\n[shop.acme.mail]\nurl = \"smtp://u:hunter2@h\"\nfrom = \"a@b\"\n");
    assert!(told.contains("a password stands in the address") && !told.contains("hunter2"), "{told}");
    let config = read(&format!("{SHOP}[shop.acme.secrets]\nx = \"hunter2\"\n"), &[("S", "hunter3")]);
    assert!(!format!("{:?}", config.expect("config")).contains("hunter"));
}

#[test]
fn mail_is_protected_unless_it_stays_here() {
    let mail = |url: &str, security: &str| {
        let text = format!("{SHOP}[shop.acme.mail]\nurl = \"{url}\"\nfrom = \"a@b\"\n{security}\n");
        read(&text, &[("S", "x")]).map(|config| {
            let mail = config.shops.into_values().next().and_then(|shop| shop.mail).expect("mail");
            (mail.host, mail.port, mail.user, mail.security)
        })
    };
    let user = |name: &str| Some(name.to_owned());
    assert_eq!(
        mail("smtp://a%40b@h.example", "").expect("mail"),
        ("h.example".into(), 587, user("a@b"), Security::Starttls)
    );
    assert_eq!(mail("smtps://h:99", "").expect("mail"), ("h".into(), 99, None, Security::Tls));
    assert_eq!(
        mail("smtp://[::1]:2525", "security = \"none\"").expect("mail"),
        ("::1".into(), 2525, None, Security::None)
    );
    assert!(mail("smtp://h.example", "security = \"none\"").is_err());
    assert!(mail("http://h", "").is_err() && mail("smtp://h:x", "").is_err() && mail("smtp://", "").is_err());
}

#[test]
fn an_inbox_names_who_logs_in_and_is_read_once_a_minute() {
    let inbox = |more: &str| {
        let text = format!("{SHOP}[shop.acme.inbox]\n{more}\n");
        read(&text, &[("S", "x")]).map(|config| config.shops.into_values().next().and_then(|shop| shop.inbox))
    };
    let it = inbox("url = \"imaps://a%40b@h.example\"\npassword = \"x\"").expect("inbox").expect("inbox");
    assert_eq!((&*it.host, it.port, &*it.user, it.security), ("h.example", 993, "a@b", Security::Tls));
    assert_eq!((&*it.folder, it.every.as_secs()), ("INBOX", 60));
    let it = inbox("url = \"imap://a@h\"\npassword = \"x\"\nevery = \"5m\"\nfolder = \"客服\"")
        .expect("inbox")
        .expect("inbox");
    assert_eq!((it.port, it.security, &*it.folder, it.every.as_secs()), (143, Security::Starttls, "客服", 300));
    for (wrong, said) in [
        ("url = \"imaps://h.example\"\npassword = \"x\"", "names nobody"),
        ("url = \"imaps://a@h.example\"", "password: this setting is missing"),
        ("url = \"smtp://a@h.example\"\npassword = \"x\"", "not a way to read mail"),
        ("url = \"imap://a@h.example\"\npassword = \"x\"\nsecurity = \"none\"", "in the clear"),
    ] {
        let told = inbox(wrong).expect_err(wrong).to_string();
        assert!(told.contains(said), "{told}");
    }
    assert!(inbox("").is_err());
}

#[test]
fn inputs_keep_numbers_exact_and_lists_may_come_from_variables() {
    let text = format!("{SHOP}[shop.acme.inputs.big]\nlimit = \"80 EUR\"\nshare = 0.1\ntags = [\"a\", 2, true]\n");
    let variables = [
        ("S", "x"),
        ("STOREHAND_SHOP__ACME__LANGUAGES", "[\"de\", \"en\"]"),
        ("STOREHAND_SHOP__ACME__PRIVATE_HOSTS", "10.0.0.1:80"),
    ];
    let config = read(&text, &variables).expect("config");
    let shop = config.shops.values().next().expect("shop");
    let wanted = serde_json::json!({ "limit": "80 EUR", "share": "0.1", "tags": ["a", 2, true] });
    assert_eq!(serde_json::to_value(&shop.inputs["big"]).expect("json"), wanted);
    assert_eq!((shop.languages.join("+"), shop.private_hosts.join("+")), ("de+en".into(), "10.0.0.1:80".into()));
}

#[test]
fn a_variable_that_sets_nothing_is_a_mistake() {
    let told = read(SHOP, &[("S", "x"), ("STOREHAND_SERVER_LISTEN", "x")]).expect_err("mistake").to_string();
    assert!(told.contains("STOREHAND_SERVER_LISTEN: this variable is not a setting"), "{told}");
    let told = read(SHOP, &[("S", "x"), ("STOREHAND_SERVER__LISTN", "x")]).expect_err("mistake").to_string();
    assert!(told.contains("did you mean `listen`?"), "{told}");
    assert!(read(SHOP, &[("S", "x"), ("STOREHAND_TEST_MODELS", "x"), ("STOREHAND_TOKEN", "x")]).is_ok());
}

#[test]
fn an_upstream_is_off_until_it_is_written_and_its_key_is_a_secret() {
    assert!(read(SHOP, &[("S", "x")]).expect("config").model.upstreams.is_empty());
    let text = format!(
        "{SHOP}[model.upstreams.large]\nurl = \"http://10.0.0.5:8000/v1\"\nmodel = \"m\"\napi_key = \"env:K\"\n\
         [model.upstreams.bare]\nurl = \"https://models.example.com/v1\"\nmodel = \"m\"\nmax_in_flight = 9\n"
    );
    let config = read(&text, &[("S", "x"), ("K", "sk-1")]).expect("config");
    let large = &config.model.upstreams["large"];
    assert_eq!(large.api_key.as_ref().map(Secret::reveal), Some("sk-1"));
    assert_eq!((large.timeout, large.max_in_flight, large.languages.len()), (Duration::from_secs(60), 4, 0));
    assert_eq!(config.model.upstreams["bare"].max_in_flight, 9);
    let shown: Vec<&str> = config.settings.iter().map(|setting| setting.value.as_str()).collect();
    assert!(shown.contains(&"••• (env:K)") && !shown.iter().any(|value| value.contains("sk-1")), "{shown:?}");
    let names = config.model.names();
    assert_eq!(names, ["smollm2-135m-instruct", "bare", "large"]);

    for (settings, wanted) in [
        ("[model.upstreams.large]\nmodel = \"m\"\n", "model.upstreams.large.url: this setting is missing"),
        ("[model.upstreams.x]\nurl = \"http://models.example.com/v1\"\nmodel = \"m\"\n", "in the clear"),
        ("[model.upstreams.x]\nurl = \"https://u:secret@h/v1\"\nmodel = \"m\"\n", "write it as `api_key"),
        ("[model.upstreams.x]\nurl = \"ftp://h/v1\"\nmodel = \"m\"\n", "`ftp` is not a way"),
        ("[model.upstreams.x]\nurl = \"https://h/v1?a=b\"\nmodel = \"m\"\n", "nothing may stand"),
        ("[model.upstreams.x]\nurl = \"https://h/v1\"\nmodel = \"m\"\nmax_in_flight = 0\n", "out of bounds"),
        ("[model.upstreams.x]\nurl = \"https://h/v1\"\nmodel = \"m\"\napi_kee = \"k\"\n", "did you mean `api_key`?"),
        ("[model.upstreams.\"A b\"]\nurl = \"https://h/v1\"\nmodel = \"m\"\n", "cannot be an upstream's name"),
        (
            "[model.upstreams.\"multilingual-e5-small\"]\nurl = \"https://h/v1\"\nmodel = \"m\"\n",
            "has this name already",
        ),
    ] {
        let told = mistakes(&format!("{SHOP}{settings}"));
        assert!(told.contains(wanted), "{wanted}\n---\n{told}");
        assert!(!told.contains("secret@"), "{told}");
    }
}
