// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !darwin && (!linux || quartet_plainsyscalls)

package reactor

import "golang.org/x/sys/unix"

const noSignal = unix.MSG_NOSIGNAL
