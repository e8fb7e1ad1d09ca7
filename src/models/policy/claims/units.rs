//! What stands before or after an amount, and the currencies that it may mean; what time is counted in.

use super::Unit;

const EURO: &[&str] = &["EUR"];
const DOLLAR: &[&str] = &["USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN"];
const YUAN: &[&str] = &["CNY"];
const POUND: &[&str] = &["GBP"];
const YEN: &[&str] = &["JPY"];
const CROWN: &[&str] = &["SEK", "NOK", "DKK"];

/// What stands before or after an amount, longest first where one begins or ends another; in small letters.
pub(super) const UNITS: &[(&str, &[&str])] = &[
    ("us$", &["USD"]),
    ("a$", &["AUD"]),
    ("c$", &["CAD"]),
    ("hk$", &["HKD"]),
    ("$", DOLLAR),
    ("€", EURO),
    ("£", POUND),
    ("¥", &["CNY", "JPY"]),
    ("₹", &["INR"]),
    ("₩", &["KRW"]),
    ("人民币", YUAN),
    ("欧元", EURO),
    ("美元", &["USD"]),
    ("日元", YEN),
    ("英镑", POUND),
    ("港元", &["HKD"]),
    ("元", &["CNY", "HKD", "TWD"]),
    ("块", YUAN),
    ("euros", EURO),
    ("euro", EURO),
    ("dollars", DOLLAR),
    ("dollar", DOLLAR),
    ("pounds", POUND),
    ("pound", POUND),
    ("yuan", YUAN),
    ("rmb", YUAN),
    ("yen", YEN),
    ("kr", CROWN),
    ("zł", &["PLN"]),
    ("eur", EURO),
    ("usd", &["USD"]),
    ("gbp", POUND),
    ("cny", YUAN),
    ("jpy", YEN),
    ("chf", &["CHF"]),
    ("cad", &["CAD"]),
    ("aud", &["AUD"]),
    ("nzd", &["NZD"]),
    ("sek", &["SEK"]),
    ("nok", &["NOK"]),
    ("dkk", &["DKK"]),
    ("pln", &["PLN"]),
    ("czk", &["CZK"]),
    ("huf", &["HUF"]),
    ("inr", &["INR"]),
    ("krw", &["KRW"]),
    ("hkd", &["HKD"]),
    ("twd", &["TWD"]),
    ("sgd", &["SGD"]),
    ("mxn", &["MXN"]),
    ("brl", &["BRL"]),
];

/// What time is counted in.
pub(super) const SPANS: &[(&str, Unit)] = &[
    ("minute", Unit::Minutes),
    ("min", Unit::Minutes),
    ("hour", Unit::Hours),
    ("day", Unit::Days),
    ("week", Unit::Weeks),
    ("month", Unit::Months),
    ("year", Unit::Years),
    ("time", Unit::Times),
];

/// The same in Chinese, longest first where one begins another.
pub(super) const SPANS_ZH: &[(&str, Unit)] = &[
    ("分钟", Unit::Minutes),
    ("小时", Unit::Hours),
    ("个小时", Unit::Hours),
    ("工作日", Unit::Days),
    ("个工作日", Unit::Days),
    ("天", Unit::Days),
    ("周", Unit::Weeks),
    ("个星期", Unit::Weeks),
    ("星期", Unit::Weeks),
    ("个月", Unit::Months),
    ("年", Unit::Years),
];
