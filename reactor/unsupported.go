// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build !unix

package reactor

// The build fails here on purpose: there is neither epoll nor kqueue. Package codec builds everywhere.
var _ = package_reactor_needs_a_system_with_epoll_or_kqueue
