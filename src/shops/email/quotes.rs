//! What a person wrote in a mail, without what the mail quotes and without the signature.
//!
//! Careful rather than thorough: a line goes where it has the form that a mail program gives it, in English or Chinese
//! (some other languages' commonest forms too). What is forwarded stays, since it is what the mail is about. Where
//! everything would go, everything stays. The whole text is kept with the event's payload.

/// The longest line that introduces a quote, in bytes.
const LONGEST_INTRODUCTION: usize = 400;
/// The longest line that a telephone puts beneath a mail, in bytes.
const LONGEST_FOOTER: usize = 80;
/// So many lines beneath `--` are a signature; more are text that happens to be beneath a rule.
const LONGEST_SIGNATURE: usize = 12;

/// The words between dashes above a mail that is quoted whole.
const ORIGINAL: &[&str] = &[
    "original message",
    "original email",
    "original mail",
    "原始邮件",
    "原邮件",
    "原始郵件",
    "回复邮件",
    "ursprüngliche nachricht",
    "message d'origine",
    "mensaje original",
];

/// The words between dashes above a mail that is sent on.
const FORWARDED: &[&str] =
    &["forwarded message", "begin forwarded message", "转发的邮件", "转发邮件", "转发邮件信息", "轉寄的郵件"];

/// How a mail program calls the fields above a mail that it quotes: whose it is, and the others.
const SENDER: &[&str] = &["from", "发件人", "寄件者", "寄件人", "von", "de"];
const FIELDS: &[&str] = &[
    "sent",
    "date",
    "to",
    "subject",
    "cc",
    "发送时间",
    "发送日期",
    "日期",
    "时间",
    "收件人",
    "抄送",
    "主题",
    "寄件日期",
    "收件者",
    "主旨",
    "gesendet",
    "an",
    "betreff",
    "envoyé",
    "à",
    "objet",
];

/// Beginnings of what telephones and programs put beneath a mail, in lower case.
const FOOTERS: &[&str] = &[
    "sent from my ",
    "sent from outlook",
    "sent from mail for ",
    "sent from yahoo mail",
    "sent from proton",
    "sent via ",
    "sent with ",
    "get outlook for ",
    "von meinem iphone gesendet",
    "envoyé de mon iphone",
    "发自我的",
    "發自我的",
    "来自我的",
    "从我的",
    "发送自我的",
    "发自 ",
    "从 windows 版邮件发送",
    "发自网易邮箱",
    "来自网易邮箱",
    "发自qq邮箱",
];

/// The text without quotes and signature.
pub(super) fn what_they_wrote(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let kept = without_signature(without_quotes(&lines));
    let written = joined(&kept);
    if written.is_empty() { joined(&lines) } else { written }
}

/// The lines without blank ones at either end, and without rows of them.
fn joined(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let line = line.trim_end();
        if line.is_empty() && (text.is_empty() || text.ends_with("\n\n")) {
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text.trim().to_owned()
}

fn without_quotes<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if is_quoted(line) {
            at += 1;
        } else if let Some(length) = introduction(&lines[at..]) {
            let next = lines[at + length..].iter().find(|line| !line.trim().is_empty());
            match next {
                // Lines with `>` end by themselves: an answer may stand between or beneath them.
                Some(next) if is_quoted(next) => at += length,
                _ => break,
            }
        } else if introduces_in_line(line) || begins_original(&lines[at..]) {
            break;
        } else if is_forwarded(line) {
            // From here on it is what the mail is about, however it looks.
            kept.extend(&lines[at..]);
            break;
        } else {
            kept.push(line);
            at += 1;
        }
    }
    kept
}

/// A quote that goes on behind its introduction in the same line, as Yahoo writes it on telephones.
fn introduces_in_line(line: &str) -> bool {
    let end = line.find(" wrote:").map(|at| at + " wrote:".len());
    let introduction = end.and_then(|end| line.get(..end)).map(str::trim);
    introduction.is_some_and(|it| {
        it.len() <= LONGEST_INTRODUCTION && begins_introduction(it) && it.contains('@') && introduces(it)
    })
}

/// `---------- Forwarded message ---------`
fn is_forwarded(line: &str) -> bool {
    let line = line.trim();
    let words = line.trim_matches(['-', ' ', ':']).to_lowercase();
    line.len() < 100 && line.starts_with(['-', 'B']) && FORWARDED.contains(&words.as_str())
}

fn is_quoted(line: &str) -> bool {
    line.trim_start().starts_with(['>', '＞'])
}

/// `On Monday, 23 November 2026 at 10:00, Acme <help@acme.example> wrote:` and the like, which may be broken into
/// three lines. How many lines it has.
fn introduction(lines: &[&str]) -> Option<usize> {
    if lines.first()?.trim().is_empty() {
        return None;
    }
    for length in 1..=lines.len().min(3) {
        let together = lines[..length].iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let last = lines[length - 1];
        if last.trim().is_empty() || is_quoted(last) || together.len() > LONGEST_INTRODUCTION {
            return None;
        }
        if !introduces(&together) {
            continue;
        }
        // What stands above an introduction that is whole without it is somebody's own line: "在吗？" begins like one.
        let first = lines[0].trim();
        let dated = first.chars().filter(char::is_ascii_digit).count() >= 3;
        let begins = begins_introduction(first) && dated || (first.contains('@') && first.ends_with('>'));
        return (length == 1 || begins).then_some(length);
    }
    None
}

fn begins_introduction(line: &str) -> bool {
    let line = line.to_lowercase();
    ["on ", "at ", "am ", "le ", "el ", "il ", "在", "于"].iter().any(|begin| line.starts_with(begin))
}

fn introduces(line: &str) -> bool {
    const VERBS: &[&str] = &[
        "wrote:",
        "写道:",
        "写道：",
        "寫道：",
        "寫道:",
        "schrieb:",
        "a écrit :",
        "a écrit\u{a0}:",
        "escribió:",
        "scritto:",
    ];
    // Somebody may write `On Monday I wrote:` themselves: a mail program gives a date in digits, or an address.
    let says_when = line.chars().any(|c| c.is_ascii_digit());
    let says_who = line.contains('@');
    let lower = line.to_lowercase();
    let ends = VERBS.iter().any(|verb| lower.ends_with(verb)) || (lower.contains(" schrieb ") && lower.ends_with(':'));
    ends && says_when && (begins_introduction(line) || says_who)
}

/// Whether a mail that is quoted whole begins here: a line that says so, or the fields of its head.
fn begins_original(lines: &[&str]) -> bool {
    let Some(line) = lines.first().map(|line| line.trim()) else { return false };
    if is_rule(line) {
        // Outlook's row of underscores, DingTalk's of dashes: what is beneath must be a head.
        let below = lines[1..].iter().position(|line| !line.trim().is_empty()).map(|at| at + 1);
        return below.is_some_and(|at| at <= 2 && is_head(&lines[at..]));
    }
    let words = line.trim_matches(|c: char| c == '-' || c == '—' || c == '_' || c == '=' || c.is_whitespace());
    let between_dashes = line.starts_with(['-', '—', '_', '=']) && words.len() < line.len();
    let words = words.to_lowercase();
    (between_dashes && ORIGINAL.contains(&words.as_str())) || is_head(lines)
}

/// A line of nothing but dashes or underscores.
fn is_rule(line: &str) -> bool {
    line.chars().count() >= 8 && (line.bytes().all(|byte| byte == b'_') || line.bytes().all(|byte| byte == b'-'))
}

/// Whether these lines begin with the head of a mail: its sender, and at least two other fields within five lines.
fn is_head(lines: &[&str]) -> bool {
    let field = |line: &str, names: &[&str]| {
        let line = line.trim().trim_start_matches(['*', '|', ' ']);
        let Some((name, _)) = line.split_once([':', '：']) else { return false };
        let name = name.trim_matches(|c: char| c == '*' || c.is_whitespace() || c == '\u{3000}').to_lowercase();
        names.contains(&name.as_str())
    };
    let Some((first, rest)) = lines.split_first() else { return false };
    let others = rest.iter().filter(|line| !line.trim().is_empty()).take(5).filter(|line| field(line, FIELDS)).count();
    field(first, SENDER) && others >= 2
}

/// Without what stands beneath `-- `, and without the footer of a telephone.
fn without_signature(mut lines: Vec<&str>) -> Vec<&str> {
    let begins = |at: &usize| {
        let line = lines[*at];
        let delimits = line.trim_end() == "--" || line.trim() == "—" || line == "-- ";
        delimits && lines.len() - at - 1 <= LONGEST_SIGNATURE
    };
    if let Some(at) = (1..lines.len()).find(begins) {
        lines.truncate(at);
    }
    loop {
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        if lines.len() < 2 || !lines.last().is_some_and(|line| is_footer(line)) {
            return lines;
        }
        lines.pop();
    }
}

fn is_footer(line: &str) -> bool {
    let line = line.trim().trim_matches(['*', '-', '|', ' ']).to_lowercase();
    line.len() <= LONGEST_FOOTER && FOOTERS.iter().any(|begin| line.starts_with(begin))
}
