//! Interfaces, addresses, default routes, name servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::netlink::{Address, addresses};
use super::{Host, dict};

/// `IFF_PROMISC` of linux/if.h.
const PROMISCUOUS: u32 = 0x100;

/// `RTF_UP` and `RTF_GATEWAY` of linux/route.h.
const UP_WITH_GATEWAY: u32 = 0x3;

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    // Without an answer the interfaces are still told, and there are no addresses.
    let addresses = addresses().unwrap_or_default();
    let names = host.list("/sys/class/net");
    let names: Vec<String> =
        names.into_iter().filter(|name| host.exists(&format!("/sys/class/net/{name}/mtu"))).collect();
    let all = |wanted: fn(&IpAddr) -> bool| -> Vec<String> {
        addresses.iter().map(|address| address.ip).filter(wanted).map(|ip| ip.to_string()).collect()
    };
    facts.insert("interfaces".into(), names.clone().into());
    for name in &names {
        let index = host.line(&format!("/sys/class/net/{name}/ifindex")).and_then(|text| text.parse::<u32>().ok());
        let own: Vec<&Address> = addresses.iter().filter(|address| Some(address.interface_index) == index).collect();
        facts.insert(name.replace(['-', ':'], "_"), Value::Map(interface(host, name, &own)));
    }
    let default = |route: Option<Route>, family: &str| route.map(|route| default(facts, &route, family));
    let v4 = default(host.read("/proc/net/route").and_then(|table| default_v4(&table)), "ipv4");
    let v6 = default(host.read("/proc/net/ipv6_route").and_then(|table| default_v6(&table)), "ipv6");
    facts.insert("default_ipv4".into(), Value::Map(v4.unwrap_or_default()));
    facts.insert("default_ipv6".into(), Value::Map(v6.unwrap_or_default()));
    facts.insert("all_ipv4_addresses".into(), all(|ip| ip.is_ipv4() && !ip.is_loopback()).into());
    facts.insert("all_ipv6_addresses".into(), all(|ip| ip.is_ipv6() && !ip.is_loopback()).into());
}

fn interface(host: &Host<'_>, name: &str, addresses: &[&Address]) -> Map {
    let dir = format!("/sys/class/net/{name}");
    let line = |file: &str| host.line(&format!("{dir}/{file}"));
    let number = |file: &str| line(file).and_then(|text| text.parse::<i64>().ok());
    let mut out = Map::new();
    let mut set = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
    set("device", name.into());
    if let Some(mac) = line("address").filter(|mac| *mac != "00:00:00:00:00:00") {
        set("macaddress", mac.into());
    }
    set("mtu", number("mtu").into());
    set("active", (line("operstate").as_deref() != Some("down")).into());
    if let Some(module) = host.link_name(&format!("{dir}/device/driver/module")) {
        set("module", module.into());
    }
    let (is_bridge, is_bond) = (host.exists(&format!("{dir}/bridge")), host.exists(&format!("{dir}/bonding")));
    let kind = match number("type") {
        _ if is_bridge => Some("bridge"),
        _ if is_bond => Some("bonding"),
        Some(1) => Some("ether"),
        Some(32) => Some("infiniband"),
        Some(512) => Some("ppp"),
        Some(772) => Some("loopback"),
        Some(65534) => Some("tunnel"),
        _ => None,
    };
    if let Some(kind) = kind {
        set("type", kind.into());
    }
    if is_bridge {
        set("interfaces", host.list(&format!("{dir}/brif")).into());
        set("id", line("bridge/bridge_id").into());
        set("stp", (line("bridge/stp_state").as_deref() == Some("1")).into());
    }
    if is_bond {
        let slaves = line("bonding/slaves").unwrap_or_default();
        set("slaves", slaves.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into());
        set("mode", line("bonding/mode").and_then(|mode| mode.split(' ').next().map(str::to_owned)).into());
        set("miimon", line("bonding/miimon").into());
        set("lacp_rate", line("bonding/lacp_rate").and_then(|rate| rate.split(' ').next().map(str::to_owned)).into());
    }
    if let Some(id) = host.link_name(&format!("{dir}/device")) {
        set("pciid", id.into());
    }
    if let Some(speed) = number("speed") {
        set("speed", speed.into());
    }
    let flags = line("flags").and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    set("promisc", (flags.unwrap_or(0) & PROMISCUOUS != 0).into());
    let mut v4 = addresses.iter().filter_map(|address| ipv4(address));
    if let Some(first) = v4.next() {
        set("ipv4", first);
    }
    let secondaries: Vec<Value> = v4.collect();
    if !secondaries.is_empty() {
        set("ipv4_secondaries", secondaries.into());
    }
    let v6: Vec<Value> = addresses.iter().filter(|address| address.ip.is_ipv6()).map(|address| ipv6(address)).collect();
    if !v6.is_empty() {
        set("ipv6", v6.into());
    }
    out
}

fn ipv4(address: &Address) -> Option<Value> {
    let IpAddr::V4(ip) = address.ip else { return None };
    let mask = u32::MAX.checked_shl(32 - u32::from(address.prefix)).unwrap_or(0);
    Some(dict([
        ("address", ip.to_string().into()),
        ("broadcast", address.broadcast.map(|ip| ip.to_string()).unwrap_or_default().into()),
        ("netmask", Ipv4Addr::from(mask).to_string().into()),
        ("network", Ipv4Addr::from(u32::from(ip) & mask).to_string().into()),
        ("prefix", address.prefix.to_string().into()),
    ]))
}

fn ipv6(address: &Address) -> Value {
    let scope = match address.scope {
        0 => "global",
        200 => "site",
        253 => "link",
        254 => "host",
        _ => "unknown",
    };
    dict([
        ("address", address.ip.to_string().into()),
        ("prefix", address.prefix.to_string().into()),
        ("scope", scope.into()),
    ])
}

#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    gateway: IpAddr,
    metric: u32,
}

/// The route with the lowest metric, in the words of its interface.
fn default(facts: &Map, route: &Route, family: &str) -> Map {
    let mut out = Map::new();
    out.insert("gateway".into(), route.gateway.to_string().into());
    out.insert("interface".into(), route.interface.as_str().into());
    let key = route.interface.replace(['-', ':'], "_");
    let Some(interface) = facts.get(&key).and_then(Value::as_map) else { return out };
    let address = match interface.get(family) {
        Some(Value::List(all)) => {
            let is_global =
                |address: &&Value| address.as_map().is_some_and(|map| map["scope"].as_str() == Some("global"));
            all.iter().find(is_global).or(all.first())
        }
        other => other,
    };
    if let Some(Value::Map(address)) = address {
        out.extend(address.clone());
    }
    for name in ["macaddress", "mtu", "type"] {
        if let Some(value) = interface.get(name) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    if family == "ipv4" {
        out.insert("alias".into(), route.interface.as_str().into());
    }
    out
}

/// `/proc/net/route`: addresses as words of 32 bits in the machine's byte order.
fn default_v4(table: &str) -> Option<Route> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, "00000000", gateway, flags, _, _, metric, "00000000", ..] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        let route = Route {
            interface: interface.to_owned(),
            gateway: Ipv4Addr::from(gateway.to_ne_bytes()).into(),
            metric: metric.parse().ok()?,
        };
        (flags & UP_WITH_GATEWAY == UP_WITH_GATEWAY).then_some(route)
    });
    routes.min_by_key(|route| route.metric)
}

/// `/proc/net/ipv6_route`: addresses as 32 hexadecimal digits.
fn default_v6(table: &str) -> Option<Route> {
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, "00", _, _, gateway, metric, _, _, flags, interface] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let gateway = u128::from_str_radix(gateway, 16).ok()?;
        let route = Route {
            interface: interface.to_owned(),
            gateway: Ipv6Addr::from(gateway).into(),
            metric: u32::from_str_radix(metric, 16).ok()?,
        };
        (destination.bytes().all(|digit| digit == b'0') && flags & UP_WITH_GATEWAY == UP_WITH_GATEWAY).then_some(route)
    });
    routes.min_by_key(|route| route.metric)
}

pub(super) fn gather_dns(host: &Host<'_>, facts: &mut Map) {
    facts.insert("dns".into(), Value::Map(dns(&host.read("/etc/resolv.conf").unwrap_or_default())));
}

fn dns(text: &str) -> Map {
    let mut out = Map::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        let (Some(name), rest) = (words.next(), words.map(str::to_owned).collect::<Vec<_>>()) else { continue };
        match name {
            "nameserver" => {
                let servers = out.entry("nameservers".to_owned()).or_insert_with(|| Value::List(Vec::new()));
                if let Value::List(servers) = servers {
                    servers.extend(rest.into_iter().map(Value::from));
                }
            }
            "domain" => drop(out.insert("domain".into(), rest.first().cloned().into())),
            "search" | "sortlist" => drop(out.insert(name.to_owned(), rest.into())),
            "options" => {
                let options = rest.into_iter().map(|option| match option.split_once(':') {
                    Some((name, value)) => (name.to_owned(), Value::from(value)),
                    None => (option, Value::Bool(true)),
                });
                out.insert("options".into(), Value::Map(options.collect()));
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_route_is_the_one_with_the_lowest_metric() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let route = default_v4(table).unwrap();
        assert_eq!((route.interface.as_str(), route.gateway), ("eth0", "192.0.2.1".parse().unwrap()));
        assert_eq!(default_v4("Iface\n"), None);
    }

    #[test]
    fn the_default_route_of_ipv6_is_found() {
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        );
        let route = default_v6(&table).unwrap();
        assert_eq!((route.interface.as_str(), route.gateway), ("eth0", "fd00::1".parse().unwrap()));
    }

    #[test]
    fn an_address_has_mask_and_network() {
        let address = Address {
            interface_index: 1,
            ip: "192.0.2.77".parse().unwrap(),
            prefix: 26,
            scope: 0,
            broadcast: None,
            label: None,
        };
        let Some(Value::Map(map)) = ipv4(&address) else { panic!("no address") };
        assert_eq!((map["netmask"].as_str(), map["network"].as_str()), (Some("255.255.255.192"), Some("192.0.2.64")));
        assert_eq!(map["prefix"].as_str(), Some("26"));
    }

    #[test]
    fn resolver_settings_are_read() {
        let map = dns("# c\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch a b\noptions ndots:2 rotate\n");
        assert_eq!(map["nameservers"], Value::from(vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()]));
        assert_eq!(map["options"].to_json(), r#"{"ndots":"2","rotate":true}"#);
    }
}
