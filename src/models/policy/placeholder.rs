//! Blanks that were to be filled in: `[Your Name]`, `[Customer Name]`, `[您的姓名]`. Small models write letters that hold
//! them; no customer may get one.

use super::Violation;

/// The longest blank, in characters.
const LONGEST: usize = 40;

/// Each blank in the text.
pub(super) fn check(text: &str) -> impl Iterator<Item = Violation> {
    text.match_indices('[').filter_map(|(start, _)| {
        let inner = &text[start + 1..];
        let inner = &inner[..inner.find(']')?];
        // Words only: a number in brackets is a footnote or a fact, and an address has other signs.
        let is_blank = inner.starts_with(char::is_alphabetic)
            && inner.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '\'' | '’' | '/' | '-' | '_'))
            && inner.chars().count() <= LONGEST;
        is_blank.then(|| Violation {
            rule: "placeholder",
            span: start..start + inner.len() + 2,
            message: format!("`[{inner}]` is a blank that nobody has filled in"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_found_and_other_brackets_are_not() {
        let found = |text: &str| check(text).map(|it| text[it.span].to_owned()).collect::<Vec<_>>();
        let letter = "Dear [Customer Name],\nyour order is packed.\n[Your Name]";
        assert_eq!(found(letter), ["[Customer Name]", "[Your Name]"]);
        assert_eq!(found("您好，[您的姓名]"), ["[您的姓名]"]);
        for text in ["see [1]", "order [#1042]", "[", "[]", "a [ b ] c", "[x\ny]", "[https://a.example]", "no brackets"]
        {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
