//! Which IP addresses are on the public internet. Special-purpose addresses are not: private,
//! loopback, link-local (where clouds serve their metadata), shared (carrier NAT), documentation,
//! multicast, reserved, and IPv6 addresses that embed such an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First address and prefix length of each special-purpose block.
const NOT_PUBLIC_V4: [([u8; 4], u32); 17] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // A public number, but virtual machines of Azure reach the agent of their host there.
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast, reserved, broadcast.
    ([224, 0, 0, 0], 3),
];

/// The special-purpose blocks within `2000::/3`. Nothing outside of that is public.
const NOT_PUBLIC_V6: [([u16; 2], u32); 3] = [
    // Protocol assignments, including Teredo.
    ([0x2001, 0x0000], 23),
    ([0x2001, 0x0db8], 32),
    ([0x3fff, 0x0000], 20),
];

/// Whether an address is on the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    !NOT_PUBLIC_V4
        .iter()
        .any(|(first, length)| (bits ^ u32::from_be_bytes(*first)) >> (32 - length) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let bits = (u32::from(first) << 16) | u32::from(second);
    first & 0xe000 == 0x2000
        && !NOT_PUBLIC_V6.iter().any(|([one, two], length)| {
            let start = (u32::from(*one) << 16) | u32::from(*two);
            (bits ^ start) >> (32 - length) == 0
        })
}

/// Addresses at which clouds serve credentials to their machines, besides all link-local addresses.
const METADATA_V4: [[u8; 4]; 3] = [
    // Alibaba, Azure, Oracle.
    [100, 100, 100, 200],
    [168, 63, 129, 16],
    [192, 0, 0, 192],
];

/// Whether clouds serve a machine's credentials at that address: all link-local addresses, and a
/// few others. No model is served there.
pub fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_metadata_v4(address),
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            // Link-local, Amazon's, Google's.
            first & 0xffc0 == 0xfe80
                || matches!((first, second), (0xfd00, 0x0ec2) | (0xfd20, 0x00ce))
                || last_bits(address).is_some_and(is_metadata_v4)
        }
    }
}

fn is_metadata_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || METADATA_V4.contains(&address.octets())
}

/// The IPv4 address that is embedded in an address in any form, including forms that are not
/// routed.
fn last_bits(address: Ipv6Addr) -> Option<Ipv4Addr> {
    embedded(address).or_else(|| match address.segments() {
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => {
            Some(v4(high, low))
        }
        _ => None,
    })
}

/// The IPv4 address at which a packet to this address may arrive: mapped, NAT64, 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(v4(high, low))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::{is_metadata, is_public};

    #[track_caller]
    fn check(addresses: &[&str], expected: bool) {
        for address in addresses {
            let parsed = address.parse().expect("an address");
            assert_eq!(is_public(parsed), expected, "{address}");
        }
    }

    #[test]
    fn where_clouds_keep_credentials() {
        let check = |addresses: &[&str], expected: bool| {
            for address in addresses {
                let parsed = address.parse().expect("an address");
                assert_eq!(is_metadata(parsed), expected, "{address}");
            }
        };
        check(
            &[
                "169.254.169.254",
                "169.254.170.2",
                "169.254.0.1",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fe80::1",
                "febf::1",
                "::ffff:169.254.169.254",
                "::169.254.169.254",
                "::ffff:0:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
            ],
            true,
        );
        check(
            &[
                "127.0.0.1",
                "10.0.0.1",
                "172.17.0.1",
                "192.168.1.5",
                "100.100.100.100",
                "8.8.8.8",
                "::1",
                "fd00::1",
                "fec0::1",
                "::ffff:10.0.0.1",
                "2606:4700:4700::1111",
            ],
            false,
        );
    }

    #[test]
    fn the_internet_is_public() {
        check(
            &[
                "1.1.1.1",
                "8.8.8.8",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.167.255.255",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2606:4700:4700::1111",
                "2001:4860:4860::8888",
                "2001:200::1",
                "::ffff:8.8.8.8",
                "64:ff9b::808:808",
                "2002:808:808::1",
            ],
            true,
        );
    }

    #[test]
    fn what_is_set_aside_is_not() {
        check(
            &[
                "0.0.0.0",
                "0.1.2.3",
                "10.0.0.1",
                "10.255.255.255",
                "100.64.0.1",
                "100.100.100.200",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.254",
                "168.63.129.16",
                "169.254.0.1",
                "169.254.169.254",
                "172.16.0.1",
                "172.31.255.255",
                "192.0.0.192",
                "192.0.2.1",
                "192.88.99.1",
                "192.168.0.1",
                "198.18.0.1",
                "198.19.255.255",
                "198.51.100.1",
                "203.0.113.1",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
            ],
            false,
        );
    }

    #[test]
    fn nor_is_it_as_or_within_an_ipv6_address() {
        check(
            &[
                "::",
                "::1",
                "::127.0.0.1",
                "::8.8.8.8",
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
                "::ffff:169.254.169.254",
                "::ffff:0:127.0.0.1",
                "64:ff9b::7f00:1",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::808:808",
                "100::1",
                "2001::1",
                "2001:0:4136:e378::1",
                "2001:10::1",
                "2001:20::1",
                "2001:db8::1",
                "2002:7f00:1::1",
                "2002:a9fe:a9fe::1",
                "3fff::1",
                "4000::1",
                "5f00::1",
                "fc00::1",
                "fd00:ec2::254",
                "fe80::1",
                "fec0::1",
                "ff02::1",
            ],
            false,
        );
    }
}
