//! The readings of an entry by other programs. Hardly any text is an error to them: what is neither an address nor a
//! network is the end of a name, whatever characters it has.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::{
    entry::{Rule, STAR_IN_NAME, Scope, address, network},
    parts::{aton_network, split_brackets_and_number, split_digits, split_host_port},
    port::Port,
};
use crate::{
    cidr,
    dialect::{
        Case, EntryBlanks, EntryPort, Ipv4Host, Ipv6Entry, LeadingDots, Networks, Reading, Rules, Star, StarDot,
        TrailingDot,
    },
    host::{ByteKinds, WrittenPort, ipv6_text, strip_brackets, to_ascii},
};

/// Reads one entry in all ways of the dialect, and passes its rules to `emit`. `whole_list` is true if the list
/// contains nothing else, not even blanks or commas.
///
/// # Errors
///
/// Returns the reason why the entry matches nothing, or nothing but hosts that have a `*`.
pub(super) fn read_all<'l>(
    entry: &'l str,
    whole_list: bool,
    rules: &Rules,
    mut emit: impl FnMut(Rule<'l>),
) -> Result<(), &'static str> {
    let mut readings = rules.readings.iter();
    let mut read = |reading| read(entry, whole_list, rules, reading, &mut emit);
    let mut result = readings.next().map_or(Ok(()), &mut read);
    for reading in readings {
        result = read(reading).or(result);
    }
    result
}

fn read<'l>(
    entry: &'l str,
    whole_list: bool,
    rules: &Rules,
    reading: &Reading,
    mut emit: impl FnMut(Rule<'l>),
) -> Result<(), &'static str> {
    let reader = Reader {
        rules,
        reading,
        // White space around it may be left.
        whole_list: whole_list && entry == "*",
    };
    match reading.blanks {
        EntryBlanks::Removed(blanks) if entry.contains(|c| blanks.has(c)) => {
            let text = entry.replace(|c| blanks.has(c), "");
            reader.read(&text, &mut |rule| emit(owned(rule)))
        }
        EntryBlanks::Removed(_) | EntryBlanks::Kept => reader.read(entry, &mut |rule| emit(placed(rule, entry))),
        EntryBlanks::Trimmed(blanks) => {
            let text = entry.trim_matches(|c| blanks.has(c));
            reader.read(text, &mut |rule| emit(placed(rule, entry)))
        }
    }
}

/// Returns the rule with its name's offset in the entry.
fn placed<'l>(mut rule: Rule<'l>, entry: &'l str) -> Rule<'l> {
    if let Rule::Name {
        name: Cow::Borrowed(name),
        offset,
        ..
    } = &mut rule
    {
        *offset = name.as_ptr() as usize - entry.as_ptr() as usize;
    }
    rule
}

fn owned(rule: Rule<'_>) -> Rule<'static> {
    match rule {
        Rule::Name {
            name,
            offset,
            scope,
            port,
        } => Rule::Name {
            name: Cow::Owned(name.into_owned()),
            offset,
            scope,
            port,
        },
        Rule::All { port, names_only } => Rule::All { port, names_only },
        Rule::Network(network) => Rule::Network(network),
        Rule::Address { ip, port } => Rule::Address { ip, port },
    }
}

struct Reader<'r> {
    rules: &'r Rules,
    reading: &'r Reading,
    whole_list: bool,
}

type Emit<'e, 't> = &'e mut dyn FnMut(Rule<'t>);

impl Reader<'_> {
    fn read<'t>(&self, text: &'t str, emit: Emit<'_, 't>) -> Result<(), &'static str> {
        if text == "*" {
            match self.reading.star {
                Star::WholeList if !self.whole_list => {
                    let _ = self.name(text, text, None, emit);
                    return Err("in this dialect `*` must be the whole list, without white space or commas");
                }
                Star::Anywhere | Star::WholeList => {
                    emit(Rule::ALL);
                    return Ok(());
                }
                Star::AnywhereForNames => {
                    let (port, names_only) = (None, true);
                    emit(Rule::All { port, names_only });
                    // It is also a name, which alone matches hosts that end in `*`.
                    let _ = self.name(text, text, None, emit);
                    return Ok(());
                }
                Star::Nowhere | Star::AnywhereInAnyForm => {}
            }
        }
        if text.contains('/') {
            emit(Rule::Network(self.network(text)?));
            return Ok(());
        }
        match self.reading.port {
            EntryPort::Literal => self.host(text, text, None, emit),
            EntryPort::Text => {
                let (host, port) = split_host_port(text)?;
                self.host(text, host, port, emit)
            }
            EntryPort::Number => {
                let (host, port) = split_brackets_and_number(text)?;
                self.host(text, host, port, emit)
            }
            EntryPort::TextWithDigits => match split_digits(text) {
                Some((host, port)) => self.host(text, host, Some(Port::text(port)), emit),
                None => self.host(text, text, None, emit),
            },
            EntryPort::PlainNumber => {
                // An IPv6 address has no brackets here, and its last part may be either.
                let whole = self.host(text, text, None, emit);
                match split_digits(text) {
                    Some((host, port)) if port.number != 0 && port == WrittenPort::plain(port.number) => {
                        let with_port = self.host(text, host, Some(Port::number(port.number)), emit);
                        whole.or(with_port)
                    }
                    _ => whole,
                }
            }
        }
    }

    fn network(&self, text: &str) -> Result<IpNet, &'static str> {
        let network = match self.reading.networks {
            Networks::None => return Err("in this dialect a network matches nothing"),
            Networks::Cidr => network(text)?,
            Networks::CidrFromOne => match network(text)? {
                network if network.prefix_len() == 0 => network.addr().into(),
                network => network,
            },
            Networks::Ipnet => text.parse().map_err(|_| "not a network in CIDR notation")?,
            Networks::InetAton => aton_network(text).ok_or("in this dialect only an IPv4 network matches anything")?,
        };
        Ok(match self.rules.mapped_is_ipv4 {
            true => cidr::to_canonical(network),
            false => network.trunc(),
        })
    }

    /// Reads a host, whose port and brackets are split off.
    fn host<'t>(&self, entry: &str, host: &'t str, port: Option<Port>, emit: Emit<'_, 't>) -> Result<(), &'static str> {
        let by_value = match self.rules.ipv4 {
            Ipv4Host::Value | Ipv4Host::ValueWithDigits | Ipv4Host::UsualValue => host.parse::<Ipv4Addr>().ok(),
            Ipv4Host::NetworkOrText | Ipv4Host::Text | Ipv4Host::UsualText => None,
        };
        if let Some(ip) = by_value {
            emit(address(ip.into(), port));
            if !self.reading.ipv4_is_name {
                return Ok(());
            }
        }
        match (self.reading.ipv6, host.parse::<Ipv6Addr>()) {
            (Ipv6Entry::Value, Ok(ip)) => {
                let ip = match self.rules.mapped_is_ipv4 {
                    true => ip.to_canonical(),
                    false => ip.into(),
                };
                emit(address(ip, port));
                Ok(())
            }
            _ => self.name(entry, host, port, emit),
        }
    }

    fn name<'t>(&self, entry: &str, host: &'t str, port: Option<Port>, emit: Emit<'_, 't>) -> Result<(), &'static str> {
        let (name, scope) = self.without_dots(entry, host);
        if name == "*" && self.reading.star == Star::AnywhereInAnyForm {
            let names_only = false;
            emit(Rule::All { port, names_only });
            return Ok(());
        }
        let name = self.in_lower_case(name)?;
        if name.contains(':') {
            return match scope {
                Scope::Below => Err(self.why_not_a_name(entry)),
                _ => self.ipv6_text(entry, name, port, emit),
            };
        }
        if name.len() > 253 {
            return Err("the name is longer than DNS allows");
        }
        if !ByteKinds::in_text(&name).is_within(ByteKinds::REG_NAME) {
            return Err(self.why_not_a_name(entry));
        }
        let has_star = name.contains('*');
        emit(Rule::Name {
            name,
            offset: 0,
            scope,
            port,
        });
        match has_star {
            true if entry.starts_with("*.") && self.reading.star_dot == StarDot::Literal => {
                Err("in this dialect `*.` is not a wildcard")
            }
            true => Err(STAR_IN_NAME),
            false => Ok(()),
        }
    }

    /// Removes the dots that do not belong to the name.
    fn without_dots<'t>(&self, entry: &str, host: &'t str) -> (&'t str, Scope) {
        let after_star = match self.reading.star_dot {
            StarDot::Literal => None,
            StarDot::Subdomains | StarDot::SubdomainsAfterAnyStar => host.strip_prefix("*."),
        };
        let (name, scope) = match (after_star, self.reading.leading_dots) {
            (Some(name), _) => (name, Scope::Below),
            (None, LeadingDots::Subdomains) => match host.strip_prefix('.') {
                Some(name) => (name, Scope::Below),
                None => (host, Scope::ItselfAndBelow),
            },
            (None, LeadingDots::FirstIgnored) => (host.strip_prefix('.').unwrap_or(host), Scope::ItselfAndBelow),
            (None, LeadingDots::Ignored) => (host.trim_start_matches('.'), Scope::ItselfAndBelow),
        };
        let scope = match self.reading.star_dot {
            StarDot::SubdomainsAfterAnyStar if entry.starts_with('*') => Scope::Below,
            StarDot::SubdomainsAfterAnyStar => Scope::ItselfAndBelow,
            StarDot::Subdomains | StarDot::Literal => scope,
        };
        let name = match self.reading.trailing_dot {
            TrailingDot::Kept => name,
            TrailingDot::IgnoredAfterText if name.len() == 1 => name,
            TrailingDot::Ignored | TrailingDot::IgnoredAfterText => name.strip_suffix('.').unwrap_or(name),
        };
        (name, scope)
    }

    /// Returns the name as hosts are compared: in lower case, and in ASCII.
    fn in_lower_case<'t>(&self, name: &'t str) -> Result<Cow<'t, str>, &'static str> {
        if name.is_ascii() {
            return match (name.bytes().any(|b| b.is_ascii_uppercase()), self.reading.case) {
                (false, _) => Ok(Cow::Borrowed(name)),
                (true, Case::Exact) => Err("in this dialect an entry with a port must be in lower case"),
                (true, Case::Ignored | Case::IgnoredInAscii) => Ok(Cow::Owned(name.to_ascii_lowercase())),
            };
        }
        let name = match self.reading.case {
            Case::Ignored => name.to_lowercase(),
            Case::IgnoredInAscii | Case::Exact => name.to_owned(),
        };
        match self.reading.idna {
            _ if name.is_ascii() => Ok(Cow::Owned(name)),
            false => Err("in this dialect a Unicode name is compared as written and matches nothing"),
            true => to_ascii(name.as_bytes()).map(|name| Cow::Owned(name.into_owned())),
        }
    }

    /// Reads the text of an IPv6 address. A target's address always is one.
    fn ipv6_text<'t>(
        &self,
        entry: &str,
        text: Cow<'t, str>,
        port: Option<Port>,
        emit: Emit<'_, 't>,
    ) -> Result<(), &'static str> {
        let (text, before_digits) = match (self.reading.ipv6, text) {
            (Ipv6Entry::Text, text) => (text, false),
            (Ipv6Entry::TextOrBeforeDigits, text) => (text, true),
            (Ipv6Entry::TextInBrackets, text) => {
                let inner = strip_brackets(&text).ok_or_else(|| self.why_not_a_name(entry))?;
                (Cow::Owned(inner.to_owned()), false)
            }
            (Ipv6Entry::UsualText, text) => {
                let ip = text.parse().map_err(|_| self.why_not_a_name(entry))?;
                if text != ipv6_text(ip) {
                    return Err(
                        "in this dialect an IPv6 address must be in its shortest form, without an IPv4 address",
                    );
                }
                emit(address(ip.into(), port));
                return Ok(());
            }
            (Ipv6Entry::Value, _) => return Err(self.why_not_a_name(entry)),
        };
        let is_before_digits = before_digits && format!("{text}:0").parse::<Ipv6Addr>().is_ok();
        let is_whole = text.parse::<Ipv6Addr>().is_ok();
        let scopes = [(is_before_digits, Scope::V6BeforeDigits), (is_whole, Scope::V6)];
        for (_, scope) in scopes.into_iter().filter(|(holds, _)| *holds) {
            emit(Rule::Name {
                name: text.clone(),
                offset: 0,
                scope,
                port,
            });
        }
        match is_before_digits || is_whole {
            true => Ok(()),
            false => Err(self.why_not_a_name(entry)),
        }
    }

    fn why_not_a_name(&self, entry: &str) -> &'static str {
        if entry.starts_with('[') {
            return match self.reading.port {
                EntryPort::Text => "in this dialect an address in brackets needs a port",
                _ => "in this dialect an address in brackets matches nothing",
            };
        }
        if entry.parse::<Ipv6Addr>().is_ok() {
            return "in this dialect an IPv6 address must be in brackets";
        }
        match split_digits(entry) {
            Some(_) => "in this dialect an entry with a port matches nothing",
            None => "the name contains a character that is not allowed in a host name",
        }
    }
}
