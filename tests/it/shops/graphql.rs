//! Our GraphQL documents fit Shopify's published schema (its part that they use; `tests/fixtures/graphql/`).

use std::collections::{BTreeMap, BTreeSet};

use graphql_parser::query::{
    self, Definition, Field, OperationDefinition, Selection, SelectionSet, TypeCondition, Value, VariableDefinition,
    parse_query,
};
use serde::Deserialize;
use serde_json::Value as Json;
use storehand::demo::{DemoProduct, DemoShop};
use storehand::domain::{
    Adjustment, CancelReason, Cancellation, Hold, HoldReason, Platform, ProductChange, RefundOrder, Secret,
    StockReason, Verdict,
};
use storehand::shops::shopify;

#[derive(Deserialize)]
struct Schema {
    query: String,
    mutation: String,
    types: BTreeMap<String, Type>,
    directives: BTreeMap<String, Directive>,
}

#[derive(Deserialize)]
struct Directive {
    locations: Vec<String>,
    args: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Type {
    kind: String,
    #[serde(default)]
    fields: BTreeMap<String, FieldType>,
    #[serde(default)]
    possible: Vec<String>,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize)]
struct FieldType {
    r#type: String,
    args: BTreeMap<String, String>,
    deprecated: bool,
}

/// Walks one document along the schema and gathers what does not fit.
struct Walk<'a> {
    schema: &'a Schema,
    variables: BTreeMap<String, String>,
    used: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Walk<'_> {
    fn set(&mut self, owner: &str, set: &SelectionSet<'_, String>) {
        for selection in &set.items {
            match selection {
                Selection::Field(field) => self.field(owner, field),
                Selection::InlineFragment(fragment) => {
                    let on = match &fragment.type_condition {
                        Some(TypeCondition::On(on)) => on.as_str(),
                        None => owner,
                    };
                    if on != owner && !self.schema.types[owner].possible.iter().any(|possible| possible == on) {
                        self.wrong.push(format!("{owner} is never {on}"));
                        continue;
                    }
                    self.set(on, &fragment.selection_set);
                }
                Selection::FragmentSpread(spread) => self.wrong.push(format!("spread {}", spread.fragment_name)),
            }
        }
    }

    fn field(&mut self, owner: &str, field: &Field<'_, String>) {
        let place = format!("{owner}.{}", field.name);
        let schema = self.schema;
        let Some(declared) = schema.types[owner].fields.get(&field.name) else {
            self.wrong.push(format!("{place} is not in the schema (or not in the fixture: run extract.py)"));
            return;
        };
        if declared.deprecated {
            self.wrong.push(format!("{place} is deprecated"));
        }
        for (name, value) in &field.arguments {
            match declared.args.get(name) {
                None => self.wrong.push(format!("{place} takes no `{name}`")),
                Some(wanted) => self.argument(&format!("{place}({name})"), wanted, value),
            }
        }
        for (name, wanted) in &declared.args {
            if wanted.ends_with('!') && !field.arguments.iter().any(|(given, _)| given == name) {
                self.wrong.push(format!("{place} needs `{name}`"));
            }
        }
        self.directives(&place, &field.directives);
        let inner = declared.r#type.trim_matches(['[', ']', '!']);
        let leaf = matches!(schema.types[inner].kind.as_str(), "SCALAR" | "ENUM");
        if leaf != field.selection_set.items.is_empty() {
            self.wrong
                .push(format!("{place} is {inner}: its selection is {}", if leaf { "too much" } else { "missing" }));
        } else if !leaf {
            self.set(inner, &field.selection_set);
        }
    }

    fn directives(&mut self, place: &str, given: &[query::Directive<'_, String>]) {
        let schema = self.schema;
        for directive in given {
            let known = schema.directives.get(&directive.name);
            let Some(known) = known.filter(|known| known.locations.iter().any(|it| it == "FIELD")) else {
                self.wrong.push(format!("{place} takes no @{}", directive.name));
                continue;
            };
            for (name, wanted) in &known.args {
                match directive.arguments.iter().find(|(given, _)| given == name) {
                    Some((_, value)) => self.argument(&format!("{place} @{}({name})", directive.name), wanted, value),
                    None => self.wrong.push(format!("{place} @{} needs `{name}`", directive.name)),
                }
            }
        }
        // The schema does not say it, the release notes of 2026-04 do.
        let must = ["Mutation.inventoryAdjustQuantities", "Mutation.refundCreate"].contains(&place);
        if must && !given.iter().any(|directive| directive.name == "idempotent") {
            self.wrong.push(format!("{place} needs @idempotent"));
        }
    }

    fn argument(&mut self, place: &str, wanted: &str, value: &Value<'_, String>) {
        let fits = match value {
            Value::Variable(name) => {
                self.used.insert(name.clone());
                // A variable that is never null serves where null is allowed.
                self.variables.get(name).is_some_and(|given| given == wanted || given.trim_end_matches('!') == wanted)
            }
            Value::Int(_) => wanted.trim_end_matches('!') == "Int",
            Value::Boolean(_) => wanted.trim_end_matches('!') == "Boolean",
            Value::Enum(word) => {
                self.schema.types.get(wanted.trim_end_matches('!')).is_some_and(|it| it.values.contains(word))
            }
            _ => false,
        };
        if !fits {
            self.wrong.push(format!("{place} wants {wanted}, not {value}"));
        }
    }
}

fn check(schema: &Schema, document: &str) -> Vec<String> {
    let document = match parse_query::<String>(document) {
        Ok(document) => document,
        Err(error) => return vec![error.to_string()],
    };
    let mut wrong = Vec::new();
    for definition in &document.definitions {
        let (root, variables, set) = match definition {
            Definition::Operation(OperationDefinition::Query(it)) => {
                (&schema.query, &it.variable_definitions, &it.selection_set)
            }
            Definition::Operation(OperationDefinition::Mutation(it)) => {
                (&schema.mutation, &it.variable_definitions, &it.selection_set)
            }
            other => return vec![format!("neither query nor mutation: {other}")],
        };
        let variables: BTreeMap<String, String> = variables
            .iter()
            .map(|VariableDefinition { name, var_type, .. }| (name.clone(), var_type.to_string()))
            .collect();
        let mut walk = Walk { schema, variables, used: BTreeSet::new(), wrong: Vec::new() };
        walk.set(root, set);
        wrong.append(&mut walk.wrong);
        wrong.extend(
            walk.variables.keys().filter(|name| !walk.used.contains(*name)).map(|name| format!("${name} unused")),
        );
    }
    wrong
}

fn schema() -> Schema {
    serde_json::from_str(include_str!("../../fixtures/graphql/shopify-admin-2026-04.json")).expect("the fixture")
}

#[test]
fn our_documents_fit_the_published_schema() {
    assert!(!shopify::DOCUMENTS.is_empty());
    for (name, document) in shopify::DOCUMENTS {
        assert_eq!(check(&schema(), document), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn what_does_not_fit_is_found() {
    for (document, said) in [
        ("query($id: ID!) { order(id: $id) { id nam } }", "Order.nam is not"),
        ("query($id: ID!) { order(id: $id) { customer { email } } }", "deprecated"),
        ("query($id: ID!) { order(id: $id) { customer } }", "missing"),
        ("query($id: ID!) { order(id: $id) { id { x } } }", "too much"),
        ("query { order { id } }", "needs `id`"),
        ("query($id: String!) { order(id: $id) { id } }", "wants ID!"),
        ("query($id: ID!, $x: Int) { order(id: $id) { id } }", "$x unused"),
        (
            "mutation($id: ID!, $t: [String!]!) { tagsAdd(id: $id, tags: $t) { node { ... on Shop { id } } } }",
            "never Shop",
        ),
        ("mutation($i: RefundInput!) { refundCreate(input: $i) { refund { id } } }", "needs @idempotent"),
        ("mutation($i: RefundInput!) { refundCreate(input: $i) @idempotent { refund { id } } }", "needs `key`"),
        ("query($id: ID!) { order(id: $id) @live { id } }", "takes no @live"),
        ("query { orders(first: 1, sortKey: AGE) { nodes { id } } }", "wants OrderSortKeys"),
        ("query {", "query"),
    ] {
        let wrong = check(&schema(), document).join("; ");
        assert!(wrong.contains(said) || said == "query" && !wrong.is_empty(), "{document}: {wrong}");
    }
}

/// What of a value does not fit an input type: fields that it does not have, and those that it needs.
fn unfit(schema: &Schema, wanted: &str, value: &Json, place: &str) -> Vec<String> {
    let required = wanted.ends_with('!');
    let wanted = wanted.trim_end_matches('!');
    match (wanted.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')), value) {
        (_, Json::Null) if required => vec![format!("{place} may not be null")],
        (_, Json::Null) => Vec::new(),
        (Some(inner), Json::Array(items)) => items.iter().flat_map(|item| unfit(schema, inner, item, place)).collect(),
        (Some(_), _) => vec![format!("{place} is no list")],
        (None, _) => {
            let Some(known) = schema.types.get(wanted) else { return vec![format!("{wanted} is not in the fixture")] };
            match (known.kind.as_str(), value) {
                ("INPUT_OBJECT", Json::Object(fields)) => fields
                    .iter()
                    .flat_map(|(name, value)| match known.fields.get(name) {
                        Some(field) => unfit(schema, &field.r#type, value, &format!("{place}.{name}")),
                        None => vec![format!("{wanted} has no {name} (or not in the fixture: run extract.py)")],
                    })
                    .collect(),
                ("ENUM", Json::String(word)) if known.values.contains(word) => Vec::new(),
                ("SCALAR", Json::String(_) | Json::Bool(_) | Json::Number(_)) => Vec::new(),
                _ => vec![format!("{place}: {value} is no {wanted}")],
            }
        }
    }
}

#[tokio::test]
async fn what_is_sent_beside_the_documents_fits_too() {
    let demo = DemoShop::new("token");
    demo.put(super::client::order(1042));
    demo.change_beside(|beside| {
        beside.levels.insert("11:22".into(), 5);
        beside.products.insert(77, DemoProduct { id: 77, ..DemoProduct::default() });
    });
    let (placed, customer) = (super::client::order(1042), super::client::order(1042).customer.id().to_string());
    let id = placed.id().to_string();
    let client = shopify::Client::new(shopify::ShopifySettings {
        endpoint: demo.start(tokio_util::sync::CancellationToken::new()).await.expect("a port"),
        access_token: Secret::new("token"),
        timeout: std::time::Duration::from_secs(5),
    })
    .expect("a client");
    let text = |text: &str| Some(text.to_owned());
    let change = ProductChange {
        title: text("a"),
        description: text("b"),
        vendor: text("c"),
        kind: text("d"),
        status: text("archived"),
    };
    let hold = Hold { reason: HoldReason::Inventory, note: text("n"), handle: "h".into() };
    let refund = RefundOrder {
        order_id: id.clone(),
        amount: "5 EUR".parse().expect("money"),
        note: "n m".into(),
        mark: "m".into(),
        notify: true,
    };
    let adjustment = Adjustment { level_id: "11:22".into(), by: 1, reason: StockReason::Received };
    for verdict in [
        client.update_product("77", &change).await,
        client.hold_order(&id, &hold).await,
        client.refund_order(&refund, "key").await,
        client.adjust_stock(&adjustment, "key2").await,
        client.write_note(&id, "n").await,
        client.write_customer_note(&customer, "n").await,
        client.cancel_order(&id, &Cancellation { reason: CancelReason::Other, restock: true, notify: true }).await,
    ] {
        assert!(matches!(verdict, Verdict::Done(_)), "{verdict:?}");
    }
    let (schema, mut seen) = (schema(), 0);
    for call in demo.calls() {
        let (input, wanted) = match call.what {
            "productUpdate" => ("product", "ProductUpdateInput!"),
            "fulfillmentOrderHold" => ("hold", "FulfillmentOrderHoldInput!"),
            "refundCreate" => ("input", "RefundInput!"),
            "inventoryAdjustQuantities" => ("input", "InventoryAdjustQuantitiesInput!"),
            "orderUpdate" => ("input", "OrderInput!"),
            "customerUpdate" => ("input", "CustomerInput!"),
            "orderCancel" => ("refund", "OrderCancelRefundMethodInput!"),
            _ => continue,
        };
        seen += 1;
        assert_eq!(unfit(&schema, wanted, &call.input[input], call.what), Vec::<String>::new());
    }
    assert_eq!(seen, 7);
    let wrong = serde_json::json!({ "orderId": null, "notes": "x", "notify": [1] });
    assert_eq!(unfit(&schema, "RefundInput!", &wrong, "it").len(), 3);
}
