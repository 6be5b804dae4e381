//! Processors, memory, firmware, disks, uptime.

use std::collections::BTreeSet;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::{Host, dict, mounts};

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    facts.extend(processors(&host.read("/proc/cpuinfo").unwrap_or_default(), usable_processors()));
    facts.extend(memory(&host.read("/proc/meminfo").unwrap_or_default()));
    facts.extend(firmware(host));
    facts.insert("devices".into(), Value::Map(devices(host)));
    facts.insert("mounts".into(), mounts::mounts(host));
    let uptime = host.line("/proc/uptime").and_then(|text| text.split('.').next()?.parse::<u64>().ok());
    if let Some(uptime) = uptime {
        facts.insert("uptime_seconds".into(), uptime.into());
    }
}

fn usable_processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processors(cpuinfo: &str, usable: usize) -> Map {
    let pairs =
        || cpuinfo.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim()));
    let numbers =
        |name: &str| pairs().filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse::<usize>().ok());
    let described = ["processor", "vendor_id", "model name", "Processor", "cpu model"];
    let list: Vec<Value> = pairs().filter(|(key, _)| described.contains(key)).map(|(_, value)| value.into()).collect();
    let logical = pairs().filter(|(key, _)| *key == "processor").count().max(1);
    let sockets: BTreeSet<&str> = pairs().filter(|(key, _)| *key == "physical id").map(|(_, value)| value).collect();
    let (count, cores, threads) = match (sockets.len(), numbers("cpu cores")) {
        (count @ 1.., Some(cores @ 1..)) => (count, cores, (numbers("siblings").unwrap_or(cores) / cores).max(1)),
        // Where the kernel tells no topology, every processor is taken for a socket, as Ansible does.
        _ => (logical, 1, 1),
    };
    let flags = pairs().find(|(key, _)| matches!(*key, "flags" | "Features")).map(|(_, value)| value);
    let flags: Vec<String> = flags.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let entries: [(&str, Value); 7] = [
        ("processor", list.into()),
        ("processor_count", count.into()),
        ("processor_cores", cores.into()),
        ("processor_threads_per_core", threads.into()),
        ("processor_vcpus", (count * cores * threads).into()),
        ("processor_nproc", usable.into()),
        ("flags", flags.into()),
    ];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// In MiB, rounded down.
fn memory(meminfo: &str) -> Map {
    let mb = |name: &str| {
        let lines = meminfo.lines().filter_map(|line| line.split_once(':'));
        let kb = lines
            .filter(|(key, _)| *key == name)
            .find_map(|(_, value)| value.split_whitespace().next()?.parse::<i64>().ok());
        kb.unwrap_or(0) / 1024
    };
    let (total, free) = (mb("MemTotal"), mb("MemFree"));
    let unused = free + mb("Cached") + mb("Buffers");
    let (swap_total, swap_free) = (mb("SwapTotal"), mb("SwapFree"));
    let real = dict([("total", total.into()), ("used", (total - free).into()), ("free", free.into())]);
    let nocache = dict([("free", unused.into()), ("used", (total - unused).into())]);
    let swap = dict([
        ("total", swap_total.into()),
        ("free", swap_free.into()),
        ("used", (swap_total - swap_free).into()),
        ("cached", mb("SwapCached").into()),
    ]);
    let entries = [
        ("memtotal_mb", total.into()),
        ("memfree_mb", free.into()),
        ("swaptotal_mb", swap_total.into()),
        ("swapfree_mb", swap_free.into()),
        ("memory_mb", dict([("real", real), ("nocache", nocache), ("swap", swap)])),
    ];
    entries.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
}

const FIRMWARE: [&str; 17] = [
    "bios_date",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_name",
    "product_serial",
    "product_uuid",
    "product_version",
    "system_vendor",
];

/// Chassis types by their number in the SMBIOS specification, from 1.
const FORM_FACTORS: [&str; 36] = [
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All In One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosure",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
];

fn firmware(host: &Host<'_>) -> Map {
    let line = |name: &str| host.line(&format!("/sys/devices/virtual/dmi/id/{name}"));
    let mut out: Map = FIRMWARE
        .iter()
        .map(|name| {
            let file = if *name == "system_vendor" { "sys_vendor" } else { *name };
            ((*name).to_owned(), line(file).unwrap_or_else(|| "NA".to_owned()).into())
        })
        .collect();
    let form = line("chassis_type").and_then(|text| text.parse::<usize>().ok());
    let form = form.and_then(|number| FORM_FACTORS.get(number.checked_sub(1)?)).copied();
    out.insert("form_factor".into(), form.unwrap_or("NA").into());
    out
}

fn devices(host: &Host<'_>) -> Map {
    host.list("/sys/block").into_iter().map(|name| (name.clone(), device(host, &name))).collect()
}

fn device(host: &Host<'_>, name: &str) -> Value {
    let dir = format!("/sys/block/{name}");
    let line = |file: &str| host.line(&format!("{dir}/{file}"));
    let sectors = line("size").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let is_virtual = std::fs::read_link(host.path(&dir)).is_ok_and(|to| to.to_string_lossy().contains("/virtual/"));
    let scheduler = line("queue/scheduler").unwrap_or_default();
    let scheduler = scheduler.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(name, _)| name);
    let partitions = host.list(&dir).into_iter().filter(|part| part.starts_with(name)).map(|part| {
        let line = |file: &str| host.line(&format!("{dir}/{part}/{file}"));
        let sectors = line("size").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let value = dict([
            ("sectors", sectors.into()),
            ("sectorsize", "512".into()),
            ("size", human_size(sectors * 512).into()),
            ("start", line("start").unwrap_or_else(|| "0".into()).into()),
            ("uuid", mounts::uuid(host, &part).into()),
        ]);
        (part, value)
    });
    dict([
        ("virtual", Value::Int(is_virtual.into())),
        ("vendor", line("device/vendor").into()),
        ("model", line("device/model").into()),
        ("removable", line("removable").into()),
        ("rotational", line("queue/rotational").into()),
        ("support_discard", line("queue/discard_granularity").into()),
        ("scheduler_mode", scheduler.into()),
        ("sectors", sectors.into()),
        ("sectorsize", line("queue/logical_block_size").unwrap_or_else(|| "512".into()).into()),
        ("size", human_size(sectors * 512).into()),
        ("holders", host.list(&format!("{dir}/holders")).into()),
        ("partitions", Value::Map(partitions.collect())),
    ])
}

fn human_size(bytes: u64) -> String {
    let units = [("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)];
    match units.iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => format!("{:.2} {unit}", bytes as f64 / (1u64 << shift) as f64),
        None => format!("{bytes}.00 Bytes"),
    }
}

pub(super) fn gather_loadavg(host: &Host<'_>, facts: &mut Map) {
    let text = host.line("/proc/loadavg").unwrap_or_default();
    let values = text.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    let loads = ["1m", "5m", "15m"].into_iter().zip(values).map(|(name, load)| (name.to_owned(), Value::Float(load)));
    facts.insert("loadavg".into(), Value::Map(loads.collect()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_by_socket_core_and_thread() {
        let one = |number: usize, socket: usize| {
            format!(
                "processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\nphysical id\t: {socket}\n\
                 siblings\t: 4\ncpu cores\t: 2\nflags\t\t: fpu sse\n\n"
            )
        };
        let text: String = (0..8).map(|number| one(number, number / 4)).collect();
        let facts = processors(&text, 8);
        let number = |name: &str| facts[name].as_i64().unwrap();
        assert_eq!((number("processor_count"), number("processor_cores")), (2, 2));
        assert_eq!((number("processor_threads_per_core"), number("processor_vcpus")), (2, 8));
        assert_eq!(facts["processor"].as_list().unwrap()[..3], ["0".into(), "GenuineIntel".into(), "Xeon".into()]);
        let arm = processors("processor\t: 0\nBogoMIPS: 50\n\nprocessor\t: 1\nFeatures\t: fp asimd\n", 2);
        assert_eq!((arm["processor_count"].as_i64(), arm["processor_vcpus"].as_i64()), (Some(2), Some(2)));
    }

    #[test]
    fn memory_is_in_mebibytes() {
        let facts =
            memory("MemTotal: 4096000 kB\nMemFree: 1024000 kB\nBuffers: 10240 kB\nCached: 20480 kB\nSwapTotal: 0 kB\n");
        assert_eq!((facts["memtotal_mb"].as_i64(), facts["memfree_mb"].as_i64()), (Some(4000), Some(1000)));
        let nocache = facts["memory_mb"].as_map().unwrap()["nocache"].as_map().unwrap();
        assert_eq!((nocache["free"].as_i64(), nocache["used"].as_i64()), (Some(1030), Some(2970)));
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(human_size(0), "0.00 Bytes");
        assert_eq!(human_size(270_553_174_016), "251.97 GB");
    }
}
