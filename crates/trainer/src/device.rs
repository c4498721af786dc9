//! `run.device`: names to Burn devices, and what an experiment asks of one.
use burn::tensor::{DType, Device};

use crate::config::schema::Experiment;

/// Every name a config may give, with the cargo feature that brings it.
pub const NAMES: &[&str] = &["flex", "ndarray", "wgpu", "vulkan", "cuda"];

/// Devices that are programmed in a shading language.
const SHADERS: &[&str] = &["wgpu", "vulkan"];

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

/// Checks that `device` has the operations and the number formats of the experiment.
///
/// # Errors
/// The key to change, and a message that says why.
pub fn fits(device: &Device, experiment: &Experiment) -> Result<(), (&'static str, String)> {
    let name = &experiment.run.device;
    let model = experiment.model.dtype();
    let state = experiment.optim.shared().state_dtype.resolve(model);
    for (key, dtype) in [("model.dtype", model), ("optim.state_dtype", state)] {
        computes(name, device, dtype).map_err(|message| (key, message))?;
    }
    experiment.loss.check_device(device).map_err(|message| ("loss", format!("on \"{name}\": {message}")))
}

/// Checks that the device of this name computes in `dtype`.
fn computes(name: &str, device: &Device, dtype: DType) -> Result<(), String> {
    let reason = if SHADERS.contains(&name) && dtype != DType::F32 {
        "shading languages have their functions, such as the exponential, in f32"
    } else if !device.supports_dtype(dtype) {
        "it lacks the format"
    } else {
        return Ok(());
    };
    Err(format!(
        "the device \"{name}\" does not compute in {}: {reason}; choose f32, or the device flex, which has every format",
        dtype.name()
    ))
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

    #[test]
    #[cfg(feature = "flex")]
    fn a_shader_computes_in_single_precision() {
        // The rule goes by the name, so that it can be tested without an adapter.
        let device = Device::flex();
        assert_eq!(computes("wgpu", &device, DType::F32), Ok(()));
        assert_eq!(computes("flex", &device, DType::F64), Ok(()));
        for dtype in [DType::F64, DType::F16] {
            let message = computes("vulkan", &device, dtype).expect_err("refused");
            assert!(message.contains("\"vulkan\" does not compute in"), "{message}");
            assert!(message.ends_with("choose f32, or the device flex, which has every format"), "{message}");
        }
    }
}
