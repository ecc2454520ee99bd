// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process

import "time"

// A Usage is what a process had used at a moment. What could not be read is nil.
type Usage struct {
	CPU          *time.Duration // user and system, of all threads, those that have ended too
	User, System *time.Duration // in ticks of the kernel's accounting, 10 ms on most
	Switches     *int64         // context switches of the threads that are there, of their own accord and not
	RSS          *int64         // bytes
}
