//! Bodies that are forms, as browsers send them and some platforms do: `application/x-www-form-urlencoded` and
//! `multipart/form-data`.
//!
//! The size was bounded by whoever took the body in; the number of fields is bounded here. A file is not copied.

use std::borrow::Cow;

/// So many fields are read.
const MOST_FIELDS: usize = 500;
/// The longest boundary (RFC 2046), in bytes.
const LONGEST_BOUNDARY: usize = 70;

/// A form's fields in their order.
#[derive(Debug, Default)]
pub(crate) struct Form<'a>(Vec<Field<'a>>);

/// One field.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: String,
    /// What a file is called; `None` for what is no file.
    pub(crate) file: Option<String>,
    pub(crate) value: Cow<'a, [u8]>,
}

impl<'a> Form<'a> {
    /// Reads a body. `None` where it is no form, or has too many fields.
    pub(crate) fn read(content_type: &str, body: &'a [u8]) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-www-form-urlencoded" => urlencoded(body),
            "multipart/form-data" => multipart(parameter(content_type, "boundary")?, body),
            _ => None,
        }
    }

    /// The first field of this name that is no file, as text.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// The first field of this name that is no file.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|field| field.name == name && field.file.is_none()).map(|field| &*field.value)
    }

    /// The names of its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|field| field.file.as_deref())
    }
}

fn urlencoded(body: &[u8]) -> Option<Form<'_>> {
    let mut fields = Vec::new();
    for pair in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|&byte| byte == b'=');
        let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        let name = String::from_utf8(decoded(name).into_owned()).ok()?;
        fields.push(Field { name, file: None, value: decoded(value) });
        if fields.len() > MOST_FIELDS {
            return None;
        }
    }
    Some(Form(fields))
}

/// `+` is a blank, `%` and two hex digits are a byte.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let value = after.get(..2).filter(|_| byte == b'%').and_then(|digits| hex::decode(digits).ok());
        match value.as_deref() {
            Some(&[value]) => {
                bytes.push(value);
                rest = &after[2..];
            }
            _ => {
                bytes.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    Cow::Owned(bytes)
}

fn multipart<'a>(boundary: String, body: &'a [u8]) -> Option<Form<'a>> {
    if boundary.is_empty() || boundary.len() > LONGEST_BOUNDARY {
        return None;
    }
    let delimiter = format!("--{boundary}").into_bytes();
    let mut fields = Vec::new();
    let mut rest = &body[find(body, &delimiter)? + delimiter.len()..];
    let between = [b"\r\n", delimiter.as_slice()].concat();
    // Behind each delimiter stands a line's end, behind the last one `--`.
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let end = find(part, &between)?;
        let (whole, after) = (&part[..end], &part[end + between.len()..]);
        let head_end = find(whole, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&whole[..head_end]);
        let disposition = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.to_owned())
        })?;
        let value = Cow::Borrowed(&whole[head_end + 4..]);
        fields.push(Field { name: parameter(&disposition, "name")?, file: parameter(&disposition, "filename"), value });
        if fields.len() > MOST_FIELDS {
            return None;
        }
        rest = after;
    }
    rest.starts_with(b"--").then_some(Form(fields))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|&byte| byte == first).map(|at| from + at) {
        if text[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// A parameter of a header: `; name="x"`, where `"` and `\` may stand behind a `\`, or `; name=x`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, value) = rest.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case(wanted);
        let value = value.trim_start();
        let (text, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted)?,
            None => {
                let (text, after) = value.split_once(';').unwrap_or((value, ""));
                (text.trim().to_owned(), after)
            }
        };
        if is_it {
            return Some(text);
        }
        rest = after.trim_start().trim_start_matches(';');
    }
}

fn quoted_text(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => match chars.next() {
                Some((_, next @ ('"' | '\\'))) => text.push(next),
                Some((_, next)) => text.extend(['\\', next]),
                None => return None,
            },
            _ => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read() {
        let form = Form::read("Application/X-WWW-Form-urlencoded; charset=utf-8", b"a=1+2%2B3&b=%E4%BD%A0&c&%26=%")
            .expect("a form");
        assert_eq!(form.text("a").as_deref(), Some("1 2+3"));
        assert_eq!(form.text("b").as_deref(), Some("你"));
        assert_eq!(form.text("c").as_deref(), Some(""));
        assert_eq!(form.text("&").as_deref(), Some("%"));
        let body = b"before\r\n--x y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\n--x y\r\n\
            content-type: image/png\r\ncontent-disposition: form-data; name=\"f\"; filename=\"a\\\"b;c.png\"\r\n\r\n\x00\xff\r\n--x y--\r\n";
        let form = Form::read("multipart/form-data; charset=utf-8; boundary=\"x y\"", body).expect("a form");
        assert_eq!(form.bytes("a"), Some(&b"1\r\n--x"[..]));
        assert_eq!(form.files().collect::<Vec<_>>(), ["a\"b;c.png"]);
        assert_eq!(form.bytes("f"), None, "a file is no field");
    }

    #[test]
    fn what_is_no_form_is_none() {
        for (kind, body) in [
            ("application/json", &b"{}"[..]),
            ("", b"a=1"),
            ("multipart/form-data", b"--x\r\n"),
            ("multipart/form-data; boundary=", b"--\r\n"),
            ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"),
            ("multipart/form-data; boundary=x", b"--x\r\n\r\n1\r\n--x--"),
            ("multipart/form-data; boundary=x", b"--x"),
            ("multipart/form-data; boundary=\"x", b"--x--"),
        ] {
            assert!(Form::read(kind, body).is_none(), "{kind} {body:?}");
        }
        assert!(Form::read("application/x-www-form-urlencoded", &b"a=1&".repeat(MOST_FIELDS + 1)).is_none());
    }
}
