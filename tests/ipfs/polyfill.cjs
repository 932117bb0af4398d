// SPDX-License-Identifier: Apache-2.0
// A dependency of js-ipfs calls Promise.withResolvers, which Node 20 does not have yet.
Promise.withResolvers ??= function () {
  const parts = {}
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}
