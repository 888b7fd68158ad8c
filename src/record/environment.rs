//! What a run ran on: what can explain a difference between two runs.

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, Disks, MemoryRefreshKind, RefreshKind, System};

use crate::target::ServerInfo;

/// Server and client machine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Environment {
    /// The server.
    pub server: ServerInfo,
    /// Whether batchpilot started the server for this run.
    pub private_server: bool,
    /// The machine that batchpilot ran on.
    pub client: Host,
    /// File system under the private server's data, as `type on device`.
    pub storage: Option<String>,
    /// One-minute load average before the run. It still holds what ended a minute ago, such as the
    /// build of batchpilot: see `cpu_busy_before` for what shared the machine.
    pub load_before: f64,
    /// Share of the machine's CPU time that was not idle just before the run, 0 to 1; `None` where
    /// it is not known, and in records of an earlier batchpilot.
    #[serde(default)]
    pub cpu_busy_before: Option<f64>,
    /// Share of CPU time that the hypervisor took away during the run, 0 to 1.
    pub steal: Option<f64>,
}

/// A machine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Host {
    /// Model of its processor.
    pub cpu: String,
    /// Logical processors.
    pub cpus: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Operating system and its version.
    pub system: String,
    /// Kernel version.
    pub kernel: String,
    /// Architecture of its processor, such as `x86_64`; empty in records of an earlier batchpilot.
    #[serde(default)]
    pub architecture: String,
    /// What the machine is virtualised by, as far as it can be told; `None` where it cannot, and in
    /// records of an earlier batchpilot.
    #[serde(default)]
    pub virtualization: Option<String>,
}

impl Host {
    /// Looks at this machine.
    pub fn here() -> Host {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(what);
        let cpu = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
        Host {
            cpu: cpu.filter(|cpu| !cpu.is_empty()).unwrap_or_else(System::cpu_arch),
            cpus: system.cpus().len(),
            memory_bytes: system.total_memory(),
            system: System::long_os_version().unwrap_or_default(),
            kernel: System::kernel_version().unwrap_or_default(),
            architecture: System::cpu_arch(),
            virtualization: virtualization(),
        }
    }

    /// Returns the one-minute load average.
    pub fn load() -> f64 {
        System::load_average().one
    }

    /// Returns the file system that holds `path`, as `type on device`.
    pub fn storage_of(path: &std::path::Path) -> Option<String> {
        let disks = Disks::new_with_refreshed_list();
        let holding = disks.iter().filter(|disk| path.starts_with(disk.mount_point()));
        let disk = holding.max_by_key(|disk| disk.mount_point().as_os_str().len())?;
        let kind = disk.file_system().to_string_lossy();
        Some(format!("{kind} on {}", disk.name().to_string_lossy()))
    }
}

/// Linux says of an x86 processor whether a hypervisor shows it; the firmware's vendor is that of the
/// machine, or of who made it up.
fn virtualization() -> Option<String> {
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let vendor = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor").ok();
    virtualization_of(&processor, vendor.as_deref().map(str::trim))
}

fn virtualization_of(processor: &str, vendor: Option<&str>) -> Option<String> {
    // Source: CPUID leaf 1, ECX bit 31, which is 0 on all real processors.
    let flags = processor.lines().find_map(|line| line.strip_prefix("flags"));
    let is_virtual = flags.map(|flags| flags.split_whitespace().any(|it| it == "hypervisor"));
    match (is_virtual, vendor) {
        (Some(false), _) => Some("none".to_owned()),
        (Some(true), Some(vendor)) => Some(format!("hypervisor ({vendor})")),
        (Some(true), None) => Some("hypervisor".to_owned()),
        // Other processors say nothing; a vendor that rents machines out is a hint.
        (None, vendor) => vendor.map(str::to_owned),
    }
}

/// Returns the most memory that this process had resident since it started, in bytes.
///
/// Linux's `ru_maxrss` survives exec: a small program started by a large one would report the large
/// one. So the peak of this program alone is read where there is one, `VmHWM` of proc(5).
pub fn memory_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    status.as_deref().and_then(parse_peak).or_else(|| {
        let usage =
            nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
        // In KiB, but for macOS, which counts bytes.
        let unit = if cfg!(target_vendor = "apple") { 1 } else { 1_024 };
        Some(u64::try_from(usage.max_rss()).ok()? * unit)
    })
}

fn parse_peak(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

/// CPU time of the whole machine since it started, from `/proc/stat`, in ticks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SystemTime {
    total: u64,
    idle: u64,
    steal: u64,
}

impl SystemTime {
    /// Reads it; `None` where there is no `/proc/stat`.
    pub fn now() -> Option<SystemTime> {
        SystemTime::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// Source: proc(5), `/proc/stat`: user nice system idle iowait irq softirq steal.
    fn parse(text: &str) -> Option<SystemTime> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        Some(SystemTime {
            total: ticks.iter().take(8).sum(),
            // A CPU that waits for a disk is free.
            idle: ticks.get(3)? + ticks.get(4)?,
            steal: *ticks.get(7)?,
        })
    }

    /// Returns the share of time since `earlier` in which CPUs were not idle, 0 to 1; steal counts.
    pub fn busy_since(self, earlier: SystemTime) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        let idle = self.idle.saturating_sub(earlier.idle).min(total);
        if total == 0 { 0.0 } else { (total - idle) as f64 / total as f64 }
    }

    /// Returns the share of steal since `earlier`, 0 to 1.
    pub fn steal_since(self, earlier: SystemTime) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        let steal = self.steal.saturating_sub(earlier.steal);
        if total == 0 { 0.0 } else { steal as f64 / total as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_peak_is_read_in_bytes() {
        let status = "VmPeak:\t  900 kB\nVmHWM:\t   12 kB\nVmRSS:\t    8 kB\n";
        assert_eq!(parse_peak(status), Some(12 * 1_024));
        assert_eq!(parse_peak("VmRSS:\t 8 kB\n"), None);
        assert!(memory_peak_bytes().is_some_and(|peak| 1_000_000 < peak));
    }

    #[test]
    fn a_cpu_that_waits_for_a_disk_is_idle() {
        let at = |text: &str| SystemTime::parse(text).unwrap();
        let before = at("cpu  10 0 10 80 0 0 0 0 0 0\n");
        let after = at("cpu  20 0 20 120 10 0 0 30 0 0\n");
        assert!((after.busy_since(before) - 0.5).abs() < 1e-9);
        assert!(after.busy_since(after).abs() < 1e-9, "no time has passed");
    }

    #[test]
    fn a_processor_says_whether_it_is_a_hypervisors() {
        let cases = [
            ("flags\t\t: fpu hypervisor sse", Some("QEMU"), Some("hypervisor (QEMU)")),
            ("flags\t\t: fpu hypervisor sse", None, Some("hypervisor")),
            ("flags\t\t: fpu sse", Some("Dell Inc."), Some("none")),
            ("Features\t: fp asimd", Some("Amazon EC2"), Some("Amazon EC2")),
            ("Features\t: fp asimd", None, None),
        ];
        for (processor, vendor, want) in cases {
            assert_eq!(virtualization_of(processor, vendor).as_deref(), want, "{processor}");
        }
    }

    #[test]
    fn steal_is_a_share_of_all_time() {
        let at = |text: &str| SystemTime::parse(text).unwrap();
        let before = at("cpu  10 0 10 80 0 0 0 0 0 0\n");
        let after = at("cpu  20 0 20 120 10 0 0 30 0 0\n");
        assert!((after.steal_since(before) - 0.3).abs() < 1e-9);
        assert_eq!(SystemTime::parse("intr 1"), None);
    }
}
