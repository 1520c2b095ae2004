//! The names in a certificate, for people to read. No decision depends on them.
//!
//! The certificate is a stranger's. It is parsed by webpki, as for its verification, and a name by `der`.

use std::fmt::Write as _;

use der::{Decode, Reader, SliceReader, Tag, Tagged, asn1::AnyRef};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::redact::Escaped;

/// The longest text that is shown of an attribute of a name, in characters.
const MAX_ATTRIBUTE: usize = 100;
/// The most attributes that are shown of a name.
const MAX_ATTRIBUTES: usize = 3;
/// The most host names that are shown of a certificate.
const MAX_HOSTS: usize = 3;

/// A certificate's names.
pub(super) struct Names {
    pub(super) issuer: Option<String>,
    /// The issuer at the end of the chain that was sent, if it is another.
    pub(super) top: Option<String>,
    pub(super) is_self_signed: bool,
    /// The first of the host names that it is for.
    pub(super) hosts: Vec<String>,
    /// The number of the others.
    pub(super) more_hosts: usize,
}

impl Names {
    /// Reads a certificate and the chain that was sent with it. Names are missing if it cannot be read.
    pub(super) fn read(certificate: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Self {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else {
            return Self {
                issuer: None,
                top: None,
                is_self_signed: false,
                hosts: Vec::new(),
                more_hosts: 0,
            };
        };
        let chain: Vec<_> = chain
            .iter()
            .filter_map(|link| EndEntityCert::try_from(link).ok())
            .collect();
        let top = top(certificate.issuer(), &chain);
        let mut hosts = certificate.valid_dns_names();
        Self {
            issuer: text(certificate.issuer()),
            top: (top != certificate.issuer()).then(|| text(top)).flatten(),
            is_self_signed: certificate.issuer() == certificate.subject(),
            hosts: hosts.by_ref().take(MAX_HOSTS).map(str::to_owned).collect(),
            more_hosts: hosts.count(),
        }
    }
}

/// Follows a chain of certificates up from an issuer. A chain that is a loop ends as well.
fn top<'c>(mut issuer: &'c [u8], chain: &'c [EndEntityCert<'_>]) -> &'c [u8] {
    for _ in chain {
        match chain.iter().find(|link| link.subject() == issuer) {
            Some(link) => issuer = link.issuer(),
            None => break,
        }
    }
    issuer
}

/// Returns a name (RFC 5280 4.1.2.4) as `CN=Example Root, O=Example`: its common name, organisation and organisational
/// unit, in the name's order, escaped and cut.
fn text(name: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut count = 0;
    // What was read before an error is shown.
    let _ = each_attribute(name, |kind, value| {
        let kind = match kind {
            [0x55, 4, 3] => "CN",
            [0x55, 4, 10] => "O",
            [0x55, 4, 11] => "OU",
            _ => return,
        };
        count += 1;
        if count <= MAX_ATTRIBUTES {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{kind}={}", Escaped(&string(&value), MAX_ATTRIBUTE));
        }
    });
    (!text.is_empty()).then_some(text)
}

/// Passes on the attributes of a sequence of relative distinguished names: the type's object identifier, and the value.
fn each_attribute(name: &[u8], mut each: impl FnMut(&[u8], AnyRef<'_>)) -> der::Result<()> {
    let mut names = SliceReader::new(name)?;
    while !names.is_finished() {
        let set = AnyRef::decode(&mut names)?;
        let mut attributes = SliceReader::new(set.value())?;
        while !attributes.is_finished() {
            let attribute = AnyRef::decode(&mut attributes)?;
            let mut parts = SliceReader::new(attribute.value())?;
            let kind = AnyRef::decode(&mut parts)?;
            each(kind.value(), AnyRef::decode(&mut parts)?);
        }
    }
    Ok(())
}

/// Returns a directory string (RFC 5280 4.1.2.4). Every type but `BMPString` is, or contains, ASCII.
fn string(value: &AnyRef<'_>) -> String {
    match value.tag() {
        Tag::BmpString => {
            let units = value
                .value()
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => String::from_utf8_lossy(value.value()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use rustls::pki_types::CertificateDer;

    use super::{Names, text};

    /// Writes an element of DER that is shorter than 128 bytes.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn attribute(kind: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let kind = element(0x06, &[0x55, 4, kind]);
        element(0x30, &[kind, element(tag, value)].concat())
    }

    /// Writes a name with one attribute per relative distinguished name.
    fn name(attributes: &[Vec<u8>]) -> Vec<u8> {
        attributes
            .iter()
            .flat_map(|attribute| element(0x31, attribute))
            .collect()
    }

    #[test]
    fn a_name_is_read_in_each_type_of_string() {
        let (country, company) = (attribute(6, 0x13, b"DE"), attribute(10, 0x0c, "Größe".as_bytes()));
        let unit = attribute(11, 0x14, b"IT");
        for (der, shown) in [
            (
                name(&[country.clone(), company.clone(), unit.clone()]),
                Some("O=Größe, OU=IT"),
            ),
            (
                name(&[attribute(3, 0x13, b"Root"), company.clone()]),
                Some("CN=Root, O=Größe"),
            ),
            // Several attributes in one relative distinguished name.
            (
                element(0x31, &[unit.clone(), company.clone()].concat()),
                Some("OU=IT, O=Größe"),
            ),
            (name(&[attribute(3, 0x1e, b"\0R\0\xf6\x26\x3a")]), Some("CN=Rö☺")),
            (name(&[attribute(3, 0x1e, b"\xd8\0\0a\0")]), Some("CN=\u{fffd}a")),
            (name(&[attribute(3, 0x14, b"K\xf6ln")]), Some("CN=K\u{fffd}ln")),
            (
                name(&[unit.clone(), unit.clone(), unit.clone(), unit]),
                Some("OU=IT, OU=IT, OU=IT"),
            ),
            (name(&[country]), None),
            (Vec::new(), None),
            // What stands before an error is shown.
            ([name(&[company]), vec![0x31, 0x7f, 0x30]].concat(), Some("O=Größe")),
            (vec![0x31, 0x84, 0xff, 0xff, 0xff, 0xff], None),
        ] {
            assert_eq!(text(&der).as_deref(), shown, "{der:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(
            mut der in Just(name(&[attribute(3, 0x1e, b"\0R"), attribute(10, 0x0c, b"Company")])),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            end in any::<prop::sample::Index>(),
            other in vec(any::<u8>(), 0..200),
        ) {
            for (at, byte) in changes {
                *at.get_mut(&mut der) = byte;
            }
            der.truncate(end.index(der.len() + 1));
            for bytes in [der, other] {
                let shown = text(&bytes).unwrap_or_default();
                prop_assert!(!shown.chars().any(char::is_control));
                Names::read(&CertificateDer::from(bytes.clone()), &[CertificateDer::from(bytes)]);
            }
        }
    }
}
