// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build soak && linux

package main

import "testing"

// A gibibyte past one slow reader.
func TestSoakSlowReader(t *testing.T) { carry(t, 1, 1<<30) }
