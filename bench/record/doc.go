// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package record is what the benchmark's stages hand to each other and what its -json file holds: the rig, the figures of
// each round of each server in each scenario, and the comparisons drawn from them. Figures that could not be measured
// are nil, and null in JSON, never zero.
package record
