// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package scenario is what the servers are put to: each file but these three is one scenario.
//
// scenario.go has what a scenario is and the list of all, attempt.go runs one round of one server, meter.go turns what
// the load and the kernel's accounts say into a record.
package scenario
