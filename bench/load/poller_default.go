// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !linux

package load

// Poller says what the load waits with.
const Poller = "poll, for want of epoll: busier than need be"

func newPoller() (poller, error) { return newPollPoller(), nil }
