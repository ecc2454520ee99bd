// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import "time"

// UsePoll has a load use the poller of systems without epoll. It returns what undoes that.
func UsePoll() (undo func()) {
	before := makePoller
	makePoller = func() (poller, error) { return newPollPoller(), nil }
	return func() { makePoller = before }
}

// SetPatience changes Patience. It returns what undoes that.
func SetPatience(d time.Duration) (undo func()) {
	before := patience
	patience = d
	return func() { patience = before }
}

// Add adds what another window of the same load saw.
func (r *Result) Add(o *Result) { r.add(o) }
