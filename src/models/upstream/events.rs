//! Server-sent events (the HTML standard, section 9.2): the data of each, out of bytes that come in pieces.

/// A line, in bytes: a piece of an answer with all that stands around it is some hundreds.
const LONGEST_LINE: usize = 1 << 20;

/// Puts lines together, and events of lines.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Option<String>,
}

impl Events {
    /// The data of the events that are complete now that these bytes have come.
    ///
    /// # Errors
    /// Why these are no events.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > LONGEST_LINE {
                return Err(format!("wrote a line of more than {LONGEST_LINE} bytes"));
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                found.extend(self.take_line(&line)?);
            }
        }
        Ok(found)
    }

    /// A line that is complete; the event's data where it ends one.
    fn take_line(&mut self, line: &[u8]) -> Result<Option<String>, String> {
        let line = std::str::from_utf8(line).map_err(|_| "wrote what is no UTF-8".to_owned())?;
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            return Ok(self.data.take());
        }
        if let Some(data) = line.strip_prefix("data:") {
            let data = data.strip_prefix(' ').unwrap_or(data);
            match &mut self.data {
                Some(before) if before.len() + data.len() > LONGEST_LINE => {
                    return Err(format!("wrote an event of more than {LONGEST_LINE} bytes"));
                }
                Some(before) => {
                    before.push('\n');
                    before.push_str(data);
                }
                None => self.data = Some(data.to_owned()),
            }
        }
        // Comments keep the connection alive; names and ids of events say nothing here.
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_become_events() {
        let mut events = Events::default();
        let text = ": hello\r\nevent: x\r\ndata: {\"a\":\r\ndata:1}\r\n\r\nid: 1\n\ndata: 好\n\ndata: unfinished\n";
        assert_eq!(events.push(text.as_bytes()), Ok(vec!["{\"a\":\n1}".into(), "好".into()]));
        assert!(Events::default().push(b"data: \xff\n").expect_err("no text").contains("UTF-8"));
        assert!(Events::default().push(&vec![b'x'; LONGEST_LINE + 1]).expect_err("long").contains("1048576"));
    }

    proptest! {
        /// However the bytes are cut, in the middle of characters too, the events are the same.
        #[test]
        fn cutting_changes_nothing(texts in prop::collection::vec("[a的\u{1F600}]{1,6}", 1..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let bytes: Vec<u8> = texts.iter().flat_map(|text| format!("data: {text}\n\n").into_bytes()).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut events = Events::default();
            let mut found = Vec::new();
            for pair in cuts.windows(2) {
                found.extend(events.push(&bytes[pair[0]..pair[1]]).expect("events"));
            }
            prop_assert_eq!(found, texts);
        }
    }
}
