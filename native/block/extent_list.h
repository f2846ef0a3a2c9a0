// ExtentList and OriginList: collect what Device::Extents and Device::Origins return, the way they promise it.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "native/block/device.h"

namespace rootloom {

// Pieces are added in ascending order without gaps; neighbours that differ in nothing but their range are joined.
template <typename Piece, auto kKind>
class PieceList {
 public:
  // REQUIRES: max_count > 0
  explicit PieceList(size_t max_count) : max_count_(max_count) {}

  // Returns false, and adds nothing, when there is no room for one more. An empty piece is left out.
  bool Add(const Piece& piece) {
    if (piece.range.length_bytes == 0) return true;
    if (!pieces_.empty() && pieces_.back().*kKind == piece.*kKind) {
      pieces_.back().range.length_bytes += piece.range.length_bytes;
      return true;
    }
    if (pieces_.size() == max_count_) return false;
    pieces_.push_back(piece);
    return true;
  }

  std::vector<Piece> Take() && { return std::move(pieces_); }

 private:
  const size_t max_count_;
  std::vector<Piece> pieces_;
};

class ExtentList : public PieceList<Extent, &Extent::kind> {
  using PieceList::PieceList;
};
class OriginList : public PieceList<Origin, &Origin::number> {
  using PieceList::PieceList;
};

}  // namespace rootloom
