//! A small random encoder in the package's format, converted and compared; and the real one.

use super::super::super::tests::{Numbers, models, real as real_model};
use super::super::tests::real;
use super::*;

/// A file as the package's, with random weights: 2 layers, 64 wide, 4 heads, a small vocabulary.
fn random_file(seed: u64) -> Vec<u8> {
    let (hidden, layers, heads, feed_forward, vocabulary, positions) = (64_u32, 2_u32, 4_u32, 96_u32, 12_u32, 32_u32);
    let mut bytes = b"E5S1".to_vec();
    let number = |bytes: &mut Vec<u8>, number: u32| bytes.extend(number.to_le_bytes());
    for it in [1, hidden, layers, heads, feed_forward, vocabulary, positions, 2] {
        number(&mut bytes, it);
    }
    number(&mut bytes, 1e-12_f32.to_bits());
    number(&mut bytes, 32);
    let pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "的", "ab"];
    for it in [pieces.len() as u32, 0, 2, 1, 3] {
        number(&mut bytes, it);
    }
    let text = pieces.concat();
    bytes.extend((text.len() as u64).to_le_bytes());
    let mut begin = 0;
    for piece in pieces.iter().chain(&[""]) {
        number(&mut bytes, begin);
        begin += piece.len() as u32;
    }
    pieces.iter().enumerate().for_each(|(at, _)| number(&mut bytes, (-(at as f32)).to_bits()));
    bytes.extend(text.bytes());
    // U+0001 is deleted, a tab becomes a space.
    number(&mut bytes, 2);
    number(&mut bytes, 4 + 1 + 4 + 1 + 4);
    for (from, to) in [(1_u32, None), (9, Some(32_u32))] {
        number(&mut bytes, from);
        bytes.push(u8::from(to.is_some()));
        to.iter().for_each(|to| bytes.extend(to.to_le_bytes()));
    }

    let mut numbers = Numbers(seed);
    let (mut directory, mut data, mut count) = (Vec::new(), Vec::new(), 0_u32);
    let mut tensor = |name: &str, rows: u32, columns: u32, spread: f32, about: f32| {
        let quantised = rows > 1 && name != "emb.pos" && name != "emb.type";
        let offset = data.len() as u64;
        for _ in 0..rows * columns / 32 {
            if quantised {
                data.extend(half::f16::from_f32(spread / 8.0).to_le_bytes());
                data.extend((0..16).map(|_| (numbers.next() * 128.0 + 128.0) as u8));
            } else {
                (0..32).for_each(|_| data.extend((about + spread * numbers.next()).to_le_bytes()));
            }
        }
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend(name.bytes());
        directory.push(u8::from(quantised));
        directory.extend((rows * columns).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend((data.len() as u64 - offset).to_le_bytes());
        count += 1;
    };
    tensor("emb.word", vocabulary, hidden, 1.0, 0.0);
    tensor("emb.pos", positions, hidden, 0.5, 0.0);
    tensor("emb.type", 2, hidden, 0.5, 0.0);
    tensor("emb.ln.w", 1, hidden, 0.2, 1.0);
    tensor("emb.ln.b", 1, hidden, 0.2, 0.0);
    for layer in 0..layers {
        for (name, rows, columns) in [
            ("q", hidden, hidden),
            ("k", hidden, hidden),
            ("v", hidden, hidden),
            ("ao", hidden, hidden),
            ("fi", feed_forward, hidden),
            ("fo", hidden, feed_forward),
        ] {
            tensor(&format!("l{layer}.{name}.w"), rows, columns, 0.3, 0.0);
            tensor(&format!("l{layer}.{name}.b"), 1, rows, 0.3, 0.0);
        }
        for name in ["aln", "oln"] {
            tensor(&format!("l{layer}.{name}.w"), 1, hidden, 0.2, 1.0);
            tensor(&format!("l{layer}.{name}.b"), 1, hidden, 0.2, 0.0);
        }
    }
    number(&mut bytes, count);
    // The offsets are from the file's beginning.
    let base = (bytes.len() + directory.len()) as u64;
    let mut at = 0;
    while at < directory.len() {
        let name = usize::from(u16::from_le_bytes([directory[at], directory[at + 1]]));
        let offset = at + 2 + name + 5;
        let found: [u8; 8] = directory[offset..offset + 8].try_into().expect("eight bytes");
        directory[offset..offset + 8].copy_from_slice(&(u64::from_le_bytes(found) + base).to_le_bytes());
        at = offset + 16;
    }
    bytes.extend(directory);
    bytes.extend(data);
    bytes
}

#[test]
fn a_random_encoder_gives_what_its_plain_forward_gives() {
    let Some(model) = real_model("a_random_encoder_gives_what_its_plain_forward_gives") else { return };
    let library = model.library.expect("a library");
    for (activations, close) in [(Activations::Kept, 0.999_999), (Activations::Rounded, 0.99)] {
        let folder = tempfile::tempdir().expect("folder");
        let (path, out) = (folder.path().join("file.bin"), folder.path().join("encoder"));
        fs::write(&path, random_file(7)).expect("written");
        convert_with(&path, &out, activations, |_| {}).expect("converted");
        let file = File::open(&path).expect("file");
        let read = Folder::read(&out).expect("folder");
        assert_eq!((read.longest, read.prompt.as_str(), read.padding), (32, "query: ", 1));
        let mut session = Session::load(&library, &read, 1).expect("session");
        let texts = [vec![0, 7, 6, 2], vec![0, 2], (0..12).cycle().take(32).collect(), vec![0, 8, 8, 3, 9, 5, 2]];
        let texts = texts.clone().map(|tokens| Read { tokens, telling: Vec::new(), truncated: false });
        let agreement = compare(&file, &mut session, &texts).expect("compared");
        assert!(agreement.least_cosine > close, "{activations:?}: {agreement:?}");
    }
}

#[test]
fn the_tokenizer_does_with_characters_what_the_file_says() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("file.bin");
    fs::write(&path, random_file(7)).expect("written");
    let file = File::open(&path).expect("file");
    let tokenizer = folder.path().join("tokenizer.json");
    fs::write(&tokenizer, tokenizer_text(&file)).expect("written");
    let tokenizer = super::super::tokenizer::Tokenizer::open(&tokenizer).expect("tokenizer");
    let read = |text: &str| tokenizer.read("", text, 32).expect("read").tokens;
    assert_eq!(read("a\u{1}b\ta"), read("ab a"));
    assert_eq!(read("a 的"), [0, 7, 4, 8, 2]);
}

fn tokenizer_text(file: &File) -> String {
    tokenizer(file).to_string()
}

#[test]
fn a_broken_file_is_refused_wherever_it_is_broken() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("file.bin");
    let whole = random_file(7);
    let convert_bytes = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        let out = folder.path().join("out");
        let result = convert(&path, &out, |_| {});
        let _ = fs::remove_dir_all(&out);
        result
    };
    convert_bytes(&whole).expect("whole");
    for length in (0..whole.len()).step_by(97) {
        let error = convert_bytes(&whole[..length]).expect_err("cut short");
        assert!(matches!(error, ModelError::NotUnderstood { .. }), "{length}: {error}");
    }
    // Sizes that lie: it may be refused or not, but it ends.
    for at in (4..400).step_by(4) {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&0x7fff_fff1_u32.to_le_bytes());
        let _ = convert_bytes(&bytes);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1, "nothing is left behind");
}

/// The default encoder, as `fetch` left it, against its original.
#[test]
fn the_default_encoder_agrees_with_its_original() {
    let Some(settings) = real("the_default_encoder_agrees_with_its_original") else { return };
    let original = super::super::super::fetch::original_encoder(&models());
    let agreement = check(&original, &settings).expect("compared");
    assert!(agreement.is_close(), "{agreement:?}");
}
