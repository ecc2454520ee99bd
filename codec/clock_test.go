// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build !linux

package codec_test

import "time"

// timed returns how long fn took.
func timed(fn func()) time.Duration {
	start := time.Now()
	fn()
	return time.Since(start)
}
