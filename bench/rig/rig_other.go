// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build !linux

package rig

import (
	"runtime"

	"github.com/quartet-go/quartet/bench/record"
)

func describe(r *record.Rig) { r.Kernel = runtime.GOOS }

// Now knows nothing here.
func Now() Ticks { return Ticks{} }

func clockSource() string { return "monotonic" }
