//! Records as rules see them: named, typed fields that are looked up by name, without a copy of the whole.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::money::{Currency, Money};

/// Text that is shared, not copied, when a rule looks at it.
pub type Text = Arc<str>;

/// One value of a record's field.
#[derive(Clone, Debug)]
pub enum Value {
    /// The shop did not say.
    Nothing,
    /// Yes or no.
    Bool(bool),
    /// A count.
    Int(i64),
    /// A number with a point.
    Decimal(Decimal),
    /// Text; ids too, since platforms' ids pass 2^53.
    Text(Text),
    /// An amount in a currency.
    Money(Money),
    /// A moment.
    Time(Timestamp),
    /// Several.
    List(Vec<Value>),
    /// Another record.
    Record(Arc<dyn Record>),
}

/// Something with named fields.
pub trait Record: Debug + Send + Sync {
    /// What it is: `order`, `customer`, …
    fn label(&self) -> &'static str;
    /// The value of a field, or `None` where there is no field of that name.
    fn get(&self, field: &str) -> Option<Value>;
    /// All fields, in the order of the reference.
    fn fields(&self) -> &'static [Field];
}

/// A field's name, what it holds and what it means: the reference and the checker read this.
#[derive(Debug)]
pub struct Field {
    /// As rules write it.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// One or two sentences.
    pub doc: &'static str,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the same words as `Value`")]
pub enum FieldKind {
    Bool,
    Int,
    Decimal,
    Text,
    Money,
    Time,
    List(&'static FieldKind),
    Record(&'static [Field]),
}

/// A Rust type that can be a record's field.
pub trait FieldType {
    /// What the reference says it holds.
    const KIND: FieldKind;
    /// What a rule sees.
    fn value(&self) -> Value;
    /// Whether there is nothing to see, so that it need not be written down.
    fn is_nothing(&self) -> bool {
        false
    }
}

impl<T: FieldType> FieldType for Option<T> {
    const KIND: FieldKind = T::KIND;
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Nothing, T::value)
    }
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

impl<T: FieldType> FieldType for Vec<T> {
    const KIND: FieldKind = FieldKind::List(&T::KIND);
    fn value(&self) -> Value {
        Value::List(self.iter().map(T::value).collect())
    }
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

macro_rules! field_types {
    ($($type:ty => $kind:ident, |$it:ident| $value:expr;)*) => {$(
        impl FieldType for $type {
            const KIND: FieldKind = FieldKind::$kind;
            fn value(&self) -> Value {
                let $it = self;
                Value::$kind($value)
            }
        }
    )*};
}

field_types! {
    bool => Bool, |it| *it;
    i64 => Int, |it| *it;
    Decimal => Decimal, |it| *it;
    Text => Text, |it| it.clone();
    Currency => Text, |it| it.as_str().into();
    Money => Money, |it| *it;
    Timestamp => Time, |it| *it;
}

/// A record type, whose fields are known without a value of it.
pub trait RecordType: Record + 'static {
    /// All fields, in the order of the reference.
    const FIELDS: &'static [Field];
}

impl<T: RecordType> FieldType for Arc<T> {
    const KIND: FieldKind = FieldKind::Record(T::FIELDS);
    fn value(&self) -> Value {
        Value::Record(Arc::<T>::clone(self))
    }
}

/// Declares a record: the struct, its JSON form (what is missing is left out), its fields for rules and the
/// reference.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident, $label:literal, { $($(#[doc = $doc:literal])+ $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[serde(skip_serializing_if = "crate::domain::record::FieldType::is_nothing")]
                pub $field: $type,
            )*
        }

        impl crate::domain::record::RecordType for $name {
            const FIELDS: &'static [crate::domain::record::Field] = &[$(
                crate::domain::record::Field {
                    name: stringify!($field),
                    kind: <$type as crate::domain::record::FieldType>::KIND,
                    doc: concat!($($doc),+),
                },
            )*];
        }

        impl crate::domain::record::Record for $name {
            fn label(&self) -> &'static str {
                $label
            }

            fn get(&self, field: &str) -> Option<crate::domain::record::Value> {
                match field {
                    $(stringify!($field) => Some(crate::domain::record::FieldType::value(&self.$field)),)*
                    _ => None,
                }
            }

            fn fields(&self) -> &'static [crate::domain::record::Field] {
                <Self as crate::domain::record::RecordType>::FIELDS
            }
        }
    };
}
pub(crate) use record;
