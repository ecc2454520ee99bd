// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !linux

package exchange_test

func inOrder() {}
