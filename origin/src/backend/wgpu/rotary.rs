//! Rotary positions: by how much each pair of a head's values is turned at each position.
//!
//! Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021); the scalings are those of
//! transformers' `modeling_rope_utils.py`.

use std::f32::consts::TAU;

use serde::Deserialize;

const THETA_DEFAULT: f32 = 10_000.0;

/// Which fields of `config.json` say something about it. transformers 5 writes `rope_parameters`, older ones `rope_theta`
/// and `rope_scaling`.
#[derive(Deserialize)]
pub(super) struct RopeParameters {
    rope_theta: Option<f32>,
    rope_scaling: Option<Scaling>,
    rope_parameters: Option<Scaling>,
    partial_rotary_factor: Option<f32>,
}

#[derive(Deserialize)]
struct Scaling {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
    partial_rotary_factor: Option<f32>,
}

/// The angles, in radians per position.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// For each pair of values `i` and `i + head_size / 2` of a head, `[head_size / 2]`.
    pub angles: Vec<f32>,
}

impl RopeParameters {
    /// The angles for heads of this width, or what about them is not computed.
    pub(super) fn rotary(&self, head_size: usize) -> Result<Rotary, String> {
        let scaling = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let partial = scaling.and_then(|scaling| scaling.partial_rotary_factor).or(self.partial_rotary_factor);
        if partial.is_some_and(|share| share != 1.0) {
            return Err("partial_rotary_factor is not computed on wgpu".to_owned());
        }
        let theta = scaling.and_then(|scaling| scaling.rope_theta).or(self.rope_theta).unwrap_or(THETA_DEFAULT);
        let angle = |pair: usize| 1.0 / theta.powf((2 * pair) as f32 / head_size as f32);
        let mut angles: Vec<f32> = (0..head_size / 2).map(angle).collect();
        match scaling.and_then(|scaling| Some((scaling, scaling.rope_type.as_deref()?))) {
            None | Some((_, "default")) => {}
            Some((scaling, "linear")) => {
                let factor = need(scaling.factor, "factor")?;
                angles.iter_mut().for_each(|angle| *angle /= factor);
            }
            Some((scaling, "llama3")) => scaling.stretch_by_wavelength(&mut angles)?,
            Some((_, other)) => {
                return Err(format!(
                    "rope_type {other:?} is not computed on wgpu; default, linear and llama3 are"
                ));
            }
        }
        if angles.iter().all(|angle| angle.is_finite()) {
            Ok(Rotary { angles })
        } else {
            Err("rope_theta".to_owned())
        }
    }
}

impl Scaling {
    /// Llama 3.1: slow turns are slowed down by `factor`, quick ones stay, those between go over from one to the other.
    fn stretch_by_wavelength(&self, angles: &mut [f32]) -> Result<(), String> {
        let factor = need(self.factor, "factor")?;
        let low = need(self.low_freq_factor, "low_freq_factor")?;
        let high = need(self.high_freq_factor, "high_freq_factor")?;
        let positions = need(self.original_max_position_embeddings, "original_max_position_embeddings")?;
        for angle in angles {
            let wavelength = TAU / *angle;
            if wavelength > positions / low {
                *angle /= factor;
            } else if wavelength >= positions / high {
                let smooth = (positions / wavelength - low) / (high - low);
                *angle = (1.0 - smooth) * *angle / factor + smooth * *angle;
            }
        }
        Ok(())
    }
}

fn need(value: Option<f32>, name: &str) -> Result<f32, String> {
    value.filter(|value| *value > 0.0).ok_or_else(|| format!("the scaling of rotary positions has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn angles(json: &str, head_size: usize) -> Vec<f32> {
        serde_json::from_str::<RopeParameters>(json).unwrap().rotary(head_size).unwrap().angles
    }

    #[test]
    fn theta_is_found_where_old_and_new_files_have_it() {
        let expected = [1.0, 0.1];
        for json in [
            r#"{"rope_theta": 100.0}"#,
            r#"{"rope_theta": 100.0, "rope_scaling": null}"#,
            r#"{"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}"#,
        ] {
            assert_eq!(angles(json, 4), expected, "{json}");
        }
        assert_eq!(angles("{}", 4), [1.0, 0.01]);
    }

    #[test]
    fn linear_scaling_divides_every_angle() {
        assert_eq!(
            angles(r#"{"rope_theta": 100.0, "rope_scaling": {"type": "linear", "factor": 4.0}}"#, 4),
            [0.25, 0.025]
        );
    }

    #[test]
    fn llama_3s_scaling_gives_the_angles_of_transformers() {
        let json = r#"{"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}"#;
        let expected = [1.0, 1.9392e-1, 3.7606e-2, 7.2927e-3, 4.2956e-4, 8.5703e-6, 1.6620e-6, 3.2229e-7];
        for (angle, expected) in angles(json, 16).iter().zip(expected) {
            assert!((angle - expected).abs() <= expected * 1e-4, "{angle} {expected}");
        }
    }
}
