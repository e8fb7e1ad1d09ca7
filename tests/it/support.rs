//! The house on trial: the real server over a file of its own, with a stateful fake shop and a clock to move.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value as Json;
use storehand::app::{App, Instead};
use storehand::config::Config;
use storehand::demo::{DemoAddress, DemoCustomer, DemoLine, DemoOrder, DemoShop, Signed, Signer};
use storehand::domain::{Clock, ManualClock, Run, Secret, ShopId};
use storehand::store::RunFilter;
use tokio_util::sync::CancellationToken;

/// A running Storehand with one shop, `acme`.
pub(crate) struct TestApp {
    /// The application.
    pub(crate) app: App,
    /// The fake platform.
    pub(crate) shop: DemoShop,
    /// The clock.
    pub(crate) clock: Arc<ManualClock>,
    /// Signs deliveries with the shop's secrets.
    pub(crate) signer: Signer,
    client: reqwest::Client,
    /// Opens the API.
    pub(crate) token: String,
    endpoint: String,
    folder: Arc<tempfile::TempDir>,
    settings: BTreeMap<String, String>,
    _api: tokio_util::sync::DropGuard,
}

/// When every test begins.
pub(crate) fn start_of_time() -> Timestamp {
    "2026-11-23T09:00:00Z".parse().expect("a time")
}

/// The id of the one shop.
pub(crate) fn acme() -> ShopId {
    "acme".parse().expect("a shop's name")
}

impl TestApp {
    /// Starts with these rules: file name and text.
    pub(crate) async fn start(rules: &[(&str, &str)]) -> Self {
        Self::start_with(rules, &[]).await
    }

    /// Starts with these rules, and with these settings as they are given by variables.
    pub(crate) async fn start_with(rules: &[(&str, &str)], settings: &[(&str, &str)]) -> Self {
        Self::start_prepared(rules, settings, |_| {}).await
    }

    /// The same in a folder that was prepared: with plugins in it, and with more settings in `more.toml`.
    pub(crate) async fn start_prepared(
        rules: &[(&str, &str)],
        settings: &[(&str, &str)],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        prepare(folder.path());
        std::fs::create_dir(folder.path().join("rules")).expect("a folder for rules");
        for (name, text) in rules {
            std::fs::write(folder.path().join("rules").join(name), text).expect("a rule");
        }
        let shop = DemoShop::new("shpat_test");
        let stop = CancellationToken::new();
        let endpoint = shop.start(stop.clone()).await.expect("a port");
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let clock = Arc::new(ManualClock::new(start_of_time()));
        Self::over(folder, (shop, None), clock, endpoint, settings, stop.drop_guard()).await
    }

    async fn over(
        folder: Arc<tempfile::TempDir>,
        (shop, token): (DemoShop, Option<String>),
        clock: Arc<ManualClock>,
        endpoint: String,
        settings: BTreeMap<String, String>,
        api: tokio_util::sync::DropGuard,
    ) -> Self {
        let config = config(folder.path(), &endpoint, &settings);
        let mailers = BTreeMap::from([(acme(), Arc::new(shop.mailer()) as _)]);
        let instead = Instead { clock: clock.clone(), mailers, ..Instead::default() };
        let app = App::start(&config, instead).await.expect("it starts");
        let signer = Signer {
            shopify: Secret::new("shopify-secret"),
            standard: Secret::new("whsec_c3RhbmRhcmQtc2VjcmV0LXN0YW5kYXJk"),
        };
        let first = app.first_token.as_ref().map(|token| token.reveal().to_owned());
        let token = token.or(first).expect("a token was made at the first start");
        Self { app, shop, clock, signer, client: reqwest::Client::new(), token, endpoint, folder, settings, _api: api }
    }

    /// Ends it in good order and starts it again on the same file.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// The same, with a look at the shop in between.
    pub(crate) async fn restart_after(self, look: impl FnOnce(&DemoShop)) -> Self {
        let Self { app, shop, clock, endpoint, folder, settings, token, _api, .. } = self;
        app.stop().await;
        look(&shop);
        Self::over(folder, (shop, Some(token)), clock, endpoint, settings, _api).await
    }

    /// The folder that its data is in.
    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    /// The file that everything is kept in.
    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("storehand.db")
    }

    /// Saves a rule's file, as its owner would.
    pub(crate) fn save(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("rules").join(name), text).expect("a rule");
    }

    /// Takes a rule's file away.
    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join("rules").join(name)).expect("a rule");
    }

    /// Asks the API; the status and what it says.
    pub(crate) async fn get(&self, path: &str) -> (u16, Json) {
        self.api(self.client.get(format!("http://{}{path}", self.app.address))).await
    }

    /// Tells the API; the status and what it says.
    pub(crate) async fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        self.api(self.client.post(format!("http://{}{path}", self.app.address)).json(body)).await
    }

    async fn api(&self, request: reqwest::RequestBuilder) -> (u16, Json) {
        let answer = request.bearer_auth(&self.token).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// Calls the program against this server: its exit code, what it says, and what it complains of.
    pub(crate) fn storehand(&self, args: &[&str]) -> (i32, String, String) {
        let url = format!("http://{}", self.app.address);
        let variables = [("STOREHAND_URL", url.as_str()), ("STOREHAND_TOKEN", self.token.as_str())];
        tokio::task::block_in_place(|| crate::cli::storehand(args, &[], &variables))
    }

    /// How a rule stands.
    pub(crate) async fn rule(&self, id: &str) -> Json {
        let (status, rule) = self.get(&format!("/v1/rules/{id}")).await;
        assert_eq!(status, 200, "{rule}");
        rule
    }

    /// Waits until a rule stands so: the folder is looked at once a second.
    pub(crate) async fn until(&self, id: &str, stands: impl Fn(&Json) -> bool) -> Json {
        let looks = async {
            loop {
                let (_, rule) = self.get(&format!("/v1/rules/{id}")).await;
                if stands(&rule) {
                    return rule;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let Ok(rule) = tokio::time::timeout(Duration::from_secs(30), looks).await else {
            panic!("it stands otherwise: {:#}", self.rule(id).await)
        };
        self.settle().await;
        rule
    }

    /// Now, by its clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Posts a delivery and returns the status.
    pub(crate) async fn deliver(&self, delivery: &Signed) -> u16 {
        self.answer(delivery).await.status().as_u16()
    }

    /// Posts a delivery and returns the answer.
    pub(crate) async fn answer(&self, delivery: &Signed) -> reqwest::Response {
        let url = format!("http://{}/hooks/acme/{}", self.app.address, delivery.source);
        let mut request = self.client.post(url).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        request.send().await.expect("an answer")
    }

    /// Places an order in the shop and delivers the news of it.
    pub(crate) async fn order(&self, order: &DemoOrder) {
        self.shop.put(order.clone());
        assert_eq!(self.deliver(&self.signer.order("orders/create", order, self.now())).await, 200);
    }

    /// Waits until nothing is left to be done now.
    pub(crate) async fn settle(&self) {
        tokio::time::timeout(Duration::from_secs(30), self.app.engine.idle()).await.expect("it comes to rest");
    }

    /// Moves the clock and waits until nothing is left to be done.
    pub(crate) async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.settle().await;
    }

    /// All runs, oldest first.
    pub(crate) async fn runs(&self) -> Vec<Run> {
        let filter = RunFilter { most: 10_000, ..RunFilter::default() };
        let mut runs = self.app.store.list_runs(&acme(), &filter).await.expect("runs");
        runs.reverse();
        runs
    }

    /// How the runs ended, oldest first: `done`, `failed: …`, or where they stand.
    pub(crate) async fn ends(&self) -> Vec<String> {
        let runs = self.runs().await;
        let end = |run: &Run| match &run.ended {
            None => format!("{:?}", run.state).to_lowercase(),
            Some((_, storehand::domain::End::Failed { failure })) => format!("failed: {failure}"),
            Some((_, end)) => format!("{end:?}").to_lowercase(),
        };
        runs.iter().map(end).collect()
    }
}

/// The configuration of a test.
pub(crate) fn config(folder: &Path, endpoint: &str, settings: &BTreeMap<String, String>) -> Config {
    let text = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        [store]
        url = "sqlite://storehand.db"
        [model]
        enabled = "off"
        [shop.acme]
        display_name = "Acme"
        currency = "EUR"
        rules = "rules"
        low_stock = {{ default = 5 }}
        reconcile = "off"
        [shop.acme.sources.shopify]
        secrets = ["shopify-secret"]
        [shop.acme.sources.standard]
        secrets = ["whsec_c3RhbmRhcmQtc2VjcmV0LXN0YW5kYXJk"]
        [shop.acme.shopify]
        domain = "acme.myshopify.com"
        access_token = "shpat_test"
        endpoint = "{endpoint}"
        "#
    );
    let file = folder.join("shop.toml");
    let more = std::fs::read_to_string(folder.join("more.toml")).unwrap_or_default();
    let text = format!("{text}\n{more}");
    Config::read(Some((&file, &text)), settings, &["mailgun", "shopify", "standard"]).expect("a configuration")
}

/// An order of one line.
pub(crate) fn order(number: u32, total: i64) -> DemoOrder {
    DemoOrder {
        number,
        customer: DemoCustomer {
            number: 1,
            first_name: "Ana".into(),
            last_name: "Lopez".into(),
            email: "ana@example.com".into(),
            locale: "en".into(),
            tags: Vec::new(),
        },
        lines: vec![DemoLine { sku: "CUP-1".into(), name: "Cup".into(), quantity: 1, price: Decimal::from(total) }],
        currency: "EUR".into(),
        shipping: Decimal::ZERO,
        tags: Vec::new(),
        note: None,
        address: DemoAddress::default(),
        paid: true,
        fulfilled: false,
        created_at: start_of_time(),
        cancelled_at: None,
        updated_at: start_of_time(),
    }
}
