//! What a person typed for an address, or clicked on.

use helpline_proto::{
    address::{Address, Fingerprint},
    text::LineName,
};

pub(crate) fn link(data: &[u8]) {
    let Ok(written) = str::from_utf8(data) else { return };
    if let Ok(address) = written.parse::<Address>() {
        assert_ne!(address.port, 0);
        assert!(!address.host.is_empty());
        let link = address.link().to_string();
        assert_eq!(link.parse().as_ref(), Ok(&address), "{link}");
        let shown = address.to_string();
        let bare = Address { line: None, fingerprint: None, ..address };
        assert_eq!(shown.parse(), Ok(bare), "{shown}");
    }
    if let Ok(fingerprint) = written.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string(), written.to_ascii_lowercase());
    }
    if let Ok(line) = LineName::new(written) {
        let link = format!("helpline://a/{line}");
        assert_eq!(link.parse::<Address>().unwrap().line, Some(line));
    }
}
