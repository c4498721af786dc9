//! `run.device`: names to Burn devices.
use burn::tensor::Device;

/// Every name a config may give, with the cargo feature that brings it.
pub const NAMES: &[&str] = &["flex", "ndarray", "wgpu", "vulkan", "cuda"];

/// The inference device of this name; `.autodiff()` gives the training device.
///
/// # Errors
/// If the name is unknown or its backend is not compiled in; the message names the feature.
pub fn open(name: &str) -> Result<Device, String> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => {
            let index = index.parse::<usize>().map_err(|_| {
                format!("\"{name}\" is not a device: \"{index}\" is not a number; expected a name such as \"cuda:0\"")
            })?;
            (kind, Some(index))
        }
        None => (name, None),
    };
    if index.is_some() && kind != "cuda" {
        return Err(format!("device \"{kind}\" takes no index; write \"{kind}\""));
    }
    match kind {
        #[cfg(feature = "flex")]
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        "ndarray" => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(index.unwrap_or(0))),
        known if NAMES.contains(&known) => {
            Err(format!("device \"{known}\" is not compiled in; build with: cargo build --release --features {known}"))
        }
        other => Err(format!("unknown device \"{other}\"; known: {}", NAMES.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_way_out() {
        assert!(open("gpu").unwrap_err().contains("known: flex, ndarray, wgpu, vulkan, cuda"));
        assert!(open("cuda:x").unwrap_err().contains("\"x\" is not a number"));
        assert!(open("flex:1").unwrap_err().contains("takes no index"));
        #[cfg(not(feature = "cuda"))]
        assert!(open("cuda:0").unwrap_err().contains("--features cuda"));
    }
}
