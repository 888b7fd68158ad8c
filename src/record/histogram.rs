//! A histogram as it stands in files: HdrHistogram's V2 format, deflated, base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};

use crate::measure::Histograms;

/// A histogram in nanoseconds, and the figures most asked for, readable without decoding it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EncodedHistogram {
    /// Values recorded.
    pub count: u64,
    /// Mean.
    pub ns_mean: f64,
    /// Median.
    pub ns_p50: u64,
    /// 99th percentile.
    pub ns_p99: u64,
    /// 99.9th percentile.
    pub ns_p999: u64,
    /// Largest value.
    pub ns_max: u64,
    /// V2 format, deflated, base64.
    pub hdr_v2_deflate: String,
}

impl EncodedHistogram {
    /// Encodes a histogram.
    pub fn encode(histogram: &Histogram<u64>) -> EncodedHistogram {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        serializer.serialize(histogram, &mut bytes).expect("writes to memory");
        EncodedHistogram {
            count: histogram.len(),
            ns_mean: histogram.mean(),
            ns_p50: histogram.value_at_quantile(0.5),
            ns_p99: histogram.value_at_quantile(0.99),
            ns_p999: histogram.value_at_quantile(0.999),
            ns_max: histogram.max(),
            hdr_v2_deflate: STANDARD.encode(bytes),
        }
    }

    /// Decodes it, or returns `None` if it was damaged. It grows, as all of batchpilot's do.
    pub fn decode(&self) -> Option<Histogram<u64>> {
        let bytes = STANDARD.decode(&self.hdr_v2_deflate).ok()?;
        let decoded: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).ok()?;
        let mut histogram = Histograms::empty();
        histogram.add(decoded).ok()?;
        Some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_read_back_as_written() {
        let mut histogram = Histograms::empty();
        for value in [1, 900, 1_000_000, 3_000_000_000] {
            histogram.record(value).unwrap();
        }
        let encoded = EncodedHistogram::encode(&histogram);
        assert_eq!(encoded.decode().unwrap(), histogram);
        assert_eq!(EncodedHistogram { hdr_v2_deflate: "x".into(), ..encoded }.decode(), None);
    }
}
