// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package live

// What the tests hold the feed to.
const (
	Burst   = burst
	Backlog = backlog
)
