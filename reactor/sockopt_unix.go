// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !linux

package reactor

import (
	"errors"
	"fmt"
	"runtime"
)

// The options of sockopt_linux.go. Where another system has one, it is of another kind: TCP_FASTOPEN of the BSDs takes
// no length, and accept filters know no time.

func setUserTimeout(int, int) error  { return noOption("TCP_USER_TIMEOUT") }
func setFastOpen(int, int) error     { return noOption("TCP_FASTOPEN with a length") }
func setDeferAccept(int, int) error  { return noOption("TCP_DEFER_ACCEPT") }
func bindToDevice(int, string) error { return noOption("SO_BINDTODEVICE") }

func noOption(name string) error {
	return fmt.Errorf("%s has no %s: %w", runtime.GOOS, name, errors.ErrUnsupported)
}
