//! The functions that a merchant may call, each with its sentence and a use of it: the checker and the reference read
//! this table, and a test evaluates every example.

/// A function of expressions and scripts.
#[derive(Debug)]
pub struct Function {
    /// As it is called.
    pub name: &'static str,
    /// How it is called: `text.contains(part)`.
    pub form: &'static str,
    /// What it gives.
    pub doc: &'static str,
    /// A use of it, and what that gives as a text shows it. Empty where a use alone says nothing.
    pub example: (&'static str, &'static str),
}

/// Functions of one kind.
#[derive(Debug)]
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// In the order of the reference.
    pub functions: &'static [Function],
}

macro_rules! functions {
    ($($title:literal { $($name:literal $form:literal $doc:literal $example:literal => $gives:literal;)* })*) => {
        /// Every function that a merchant may call; the check knows no others.
        pub const FUNCTIONS: &[Group] = &[$(Group { title: $title, functions: &[
            $(Function { name: $name, form: $form, doc: $doc, example: ($example, $gives) },)*
        ] },)*];
    };
}

functions! {
    "Money and time" {
        "money" "money(text)" "An amount. `20 EUR`, `EUR 20`, `€20`, `¥20` and `20 元` are read." r#"money("20 EUR") * 3"# => "60.00 EUR";
        "time" "time(text)" "A moment, as RFC 3339 writes it." r#"time("2026-11-24T09:00:00Z") + hours(2)"# => "2026-11-24T11:00:00Z";
        "duration" "duration(text)" "A length of time, written `30m`, `24h`, `7d`." r#"duration("36h") > days(1)"# => "true";
        "days" "days(n)" "So many days of 24 hours." "days(2)" => "2d";
        "hours" "hours(n)" "So many hours." "hours(36)" => "36h";
        "minutes" "minutes(n)" "So many minutes." "minutes(90)" => "90m";
    }
    "Texts" {
        "contains" "text.contains(part)" "Whether a part is in it; `part in text` says the same. A list contains an item." r#""wholesale".contains("sale")"# => "true";
        "starts_with" "text.starts_with(part)" "Whether it begins so." r#""DE-10115".starts_with("DE")"# => "true";
        "ends_with" "text.ends_with(part)" "Whether it ends so." r#""ana@example.com".ends_with("@example.com")"# => "true";
        "to_lower" "text.to_lower()" "In lower case." r#""VIP".to_lower()"# => "vip";
        "to_upper" "text.to_upper()" "In upper case." r#""sku-1".to_upper()"# => "SKU-1";
        "trim" "text.trim()" "Without the spaces at both ends." r#""  hello ".trim()"# => "hello";
        "replace" "text.replace(part, other)" "With every part replaced." r#""1.234,50".replace(",", ".")"# => "1.234.50";
        "split" "text.split(between)" "The pieces between, as a list; without `between`, the words." r#""a;b;c".split(";").len()"# => "3";
        "sub_string" "text.sub_string(start, len)" "A part, counted in characters from 0; without `len`, to the end." r#""ORDER-1042".sub_string(6)"# => "1042";
        "crop" "text.crop(start, len)" "Changes the text of a variable to a part of it." r#"let t = "ORDER-1042"; t.crop(0, 5); t"# => "ORDER";
        "truncate" "text.truncate(len)" "Cuts the text, or the list, of a variable to this length." r#"let t = "a long note"; t.truncate(6); t"# => "a long";
        "pad" "text.pad(len, with)" "Fills up the text, or the list, of a variable to this length." r#"let t = "7"; t.pad(3, "."); t"# => "7..";
        "len" "text.len()" "How many characters; of a list or map, how many items." r#""四个字吗".len()"# => "4";
        "is_empty" "text.is_empty()" "Whether there is nothing in it; of lists and maps too." r#""".is_empty()"# => "true";
        "index_of" "text.index_of(part)" "Where a part begins, counted from 0, or -1; of a list, where an item stands." r#""a-b".index_of("-")"# => "1";
        "chars" "text.chars()" "Its characters, one after another, for a script's `for`." r#"let n = 0; for c in "abc".chars() { n += 1; } n"# => "3";
        "to_chars" "text.to_chars()" "Its characters as a list." r#""abc".to_chars().len()"# => "3";
        "by_language" "by_language(locale, #{ en: …, zh: … })" "The text of this language (BCP 47), of its first part, else English; else the first." r#"by_language("zh-CN", #{ en: "Hello", zh: "您好" })"# => "您好";
        "to_string" "value.to_string()" "As a text shows it; a list or map as JSON." "(5).to_string() + \"!\"" => "5!";
        "to_json" "map.to_json()" "A map as JSON." r#"#{ a: 1 }.to_json()"# => "{\"a\":1}";
    }
    "Numbers" {
        "abs" "number.abs()" "Without its sign." "(-5).abs()" => "5";
        "sign" "number.sign()" "-1, 0 or 1." "(-5).sign()" => "-1";
        "min" "min(a, b)" "The smaller." "min(3, 5)" => "3";
        "max" "max(a, b)" "The larger." "max(3, 5)" => "5";
        "floor" "number.floor()" "The whole number below." "(2.7).floor()" => "2";
        "ceiling" "number.ceiling()" "The whole number above." "(2.1).ceiling()" => "3";
        "round" "number.round(digits)" "Rounded, to whole numbers or to so many digits." "(2.345).round(1)" => "2.3";
        "int" "number.int()" "The part before the point." "(2.7).int()" => "2";
        "fraction" "number.fraction()" "The part behind the point." "(2.7).fraction()" => "0.7";
        "to_int" "number.to_int()" "As a whole number, cut off at the point." "(2.7).to_int()" => "2";
        "to_decimal" "number.to_decimal()" "As a number that may have a point." "(1).to_decimal() / 4" => "0.25";
        "parse_int" "parse_int(text)" "The whole number that a text is; anything else is an error." r#"parse_int("42") + 1"# => "43";
        "parse_decimal" "parse_decimal(text)" "The number that a text is; anything else is an error." r#"parse_decimal("1.5") * 2"# => "3.0";
        "is_odd" "number.is_odd()" "Whether it is odd." "(3).is_odd()" => "true";
        "is_even" "number.is_even()" "Whether it is even." "(3).is_even()" => "false";
        "is_zero" "number.is_zero()" "Whether it is 0." "(0).is_zero()" => "true";
        "range" "range(from, to)" "The whole numbers from one to before another, for a script's `for`." "let n = 0; for i in range(0, 4) { n += i; } n" => "6";
    }
    "Lists" {
        "any" "list.any(|item| …)" "Whether it holds for one of them." "[1, 5].any(|n| n > 4)" => "true";
        "some" "list.some(|item| …)" "The same as `any`." "[1, 5].some(|n| n > 9)" => "false";
        "all" "list.all(|item| …)" "Whether it holds for all of them." "[1, 5].all(|n| n > 0)" => "true";
        "sum" "list.sum()" "All of them added up: numbers, or money of one currency." r#"[money("2 EUR"), money("3 EUR")].sum()"# => "5.00 EUR";
        "join" "list.join(between)" "As one text." r#"["cup", "lamp"].join(" and ")"# => "cup and lamp";
        "map" "list.map(|item| …)" "What becomes of each." "[1, 2].map(|n| n * 10)" => "10, 20";
        "filter" "list.filter(|item| …)" "Those for which it holds." "[1, 5, 7].filter(|n| n > 4)" => "5, 7";
        "find" "list.find(|item| …)" "The first for which it holds, or nothing." "[1, 5, 7].find(|n| n > 4)" => "5";
        "find_map" "list.find_map(|item| …)" "The first that becomes something." "[1, 5].find_map(|n| if n > 4 { n * 10 })" => "50";
        "reduce" "list.reduce(|sum, item| …, start)" "All of them, put together one after another." "[1, 2, 3].reduce(|sum, n| sum + n, 0)" => "6";
        "for_each" "list.for_each(|| …)" "Does something with each, which is `this`; changes the list of a variable." "let l = [1, 2]; l.for_each(|| this *= 2); l" => "2, 4";
        "order" "list.order(|a, b| …)" "In another order; without a function, smallest first." "[3, 1, 2].order(|a, b| b - a)" => "3, 2, 1";
        "order_by" "list.order_by(|a, b| …)" "The same as `order` with a function." "[3, 1, 2].order_by(|a, b| a - b)" => "1, 2, 3";
        "sort" "list.sort(|a, b| …)" "Puts the list of a variable in order; without a function, smallest first." "let l = [3, 1, 2]; l.sort(); l" => "1, 2, 3";
        "sort_by" "list.sort_by(|a, b| …)" "The same as `sort` with a function." "let l = [3, 1, 2]; l.sort_by(|a, b| b - a); l" => "3, 2, 1";
        "reverse" "list.reverse()" "Turns the list of a variable round." "let l = [1, 2]; l.reverse(); l" => "2, 1";
        "dedup" "list.dedup()" "Leaves out of a variable's list what follows its like." "let l = [1, 1, 2]; l.dedup(); l" => "1, 2";
        "push" "list.push(item)" "Adds to the end of a variable's list." "let l = [1]; l.push(2); l" => "1, 2";
        "pop" "list.pop()" "Takes the last from a variable's list." "let l = [1, 2]; l.pop()" => "2";
        "shift" "list.shift()" "Takes the first from a variable's list." "let l = [1, 2]; l.shift()" => "1";
        "insert" "list.insert(at, item)" "Puts one into a variable's list." "let l = [1, 3]; l.insert(1, 2); l" => "1, 2, 3";
        "remove" "list.remove(at)" "Takes one from a variable's list; from a map by its key, from a text every such part." "let l = [1, 2, 3]; l.remove(0); l" => "2, 3";
        "append" "list.append(other)" "Adds another list to the end of a variable's." "let l = [1]; l.append([2, 3]); l" => "1, 2, 3";
        "extract" "list.extract(start, len)" "A part; without `len`, to the end." "[1, 2, 3].extract(1)" => "2, 3";
        "splice" "list.splice(start, len, other)" "Puts another list in place of a part of a variable's." "let l = [1, 9, 4]; l.splice(1, 1, [2, 3]); l" => "1, 2, 3, 4";
        "retain" "list.retain(|item| …)" "Keeps in a variable's list those for which it holds, and gives the others." "let l = [1, 5, 7]; l.retain(|n| n > 4); l" => "5, 7";
        "drain" "list.drain(|item| …)" "Takes from a variable's list those for which it holds, and gives them." "let l = [1, 5, 7]; l.drain(|n| n > 4)" => "5, 7";
        "zip" "list.zip(other, |a, b| …)" "Two lists, item by item." "[1, 2].zip([10, 20], |a, b| a + b)" => "11, 22";
        "clear" "list.clear()" "Empties the list, map or text of a variable." "let l = [1]; l.clear(); l.len()" => "0";
    }
    "Maps" {
        "keys" "map.keys()" "Its keys." "#{ a: 1, b: 2 }.keys()" => "a, b";
        "values" "map.values()" "Its values." "#{ a: 1, b: 2 }.values()" => "1, 2";
        "get" "map.get(key)" "The value of a key, or nothing; of a list, the item at a place." r#"#{ a: 1 }.get("a")"# => "1";
        "set" "map.set(key, value)" "Sets a key in a variable's map; in a list, an item." r#"let m = #{ a: 1 }; m.set("a", 2); m.get("a")"# => "2";
        "mixin" "map.mixin(other)" "Takes over another map's keys into a variable's." "let m = #{ a: 1 }; m.mixin(#{ b: 2 }); m.len()" => "2";
        "fill_with" "map.fill_with(other)" "Takes over those keys of another map that a variable's lacks." "let m = #{ a: 1 }; m.fill_with(#{ a: 9, b: 2 }); m.values()" => "1, 2";
    }
    "Functions" {
        "name" "function.name()" "The name of a function that a variable holds." "" => "";
    }
}

/// The words that a text may hold beside [`FUNCTIONS`]: Rhai's own, which need no registration.
pub(super) const BUILT_IN: &[&str] = &["call", "type_of", "is_shared", "is_def_var", "is_def_fn"];

/// Functions of scripts only.
pub(super) const SCRIPT_FUNCTIONS: &[&str] = &["ask", "all", "exit"];

/// The names of the table.
pub(super) fn named() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().flat_map(|group| group.functions).map(|function| function.name)
}

/// The functions that expressions may call.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    named().chain(BUILT_IN.iter().copied())
}

#[cfg(test)]
mod tests {
    use rhai::Dynamic;

    use super::super::language::{reader, runner};
    use super::super::value::show;
    use super::*;

    #[test]
    fn every_example_gives_what_its_line_says() {
        let mut wrong = Vec::new();
        for function in FUNCTIONS.iter().flat_map(|group| group.functions) {
            let (text, gives) = function.example;
            if text.is_empty() {
                continue;
            }
            assert!(text.contains(function.name), "`{text}` is no use of {}", function.name);
            let ast = reader().compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            match runner(|_| None).0.eval_ast::<Dynamic>(&ast) {
                Ok(value) if show(&value) == gives => {}
                Ok(value) => wrong.push(format!("{text} gives {}", show(&value))),
                Err(error) => wrong.push(format!("{text}: {error}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
